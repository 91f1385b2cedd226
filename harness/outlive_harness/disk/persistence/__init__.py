"""What a power cut may leave: which micro-ops of a recording persist, and the files that result.

``micro`` cuts ops into the smallest steps that a disk persists or loses; ``needs`` and ``syncs`` say what
must persist before what, and when, by the rules of a profile; ``closure`` turns these into sets, ``view`` and
``state`` into files; ``order`` picks the sets to try first, ``admit`` decides whether found files are one of
them, ``lost`` names them. It imports the model of the disk and the profiles. The door is ``disk/power.py``.
"""
