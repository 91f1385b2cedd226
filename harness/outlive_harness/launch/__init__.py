"""How a run starts and how it ends: fork, filter, exec; then SIGKILL until no process of it is left.

``exec`` starts a program, ``zygote`` and ``pool`` fork a warm Python interpreter instead; ``run`` has it
watched to its end, and ``reap`` kills its tree. ``traced`` makes its interpreters record their stacks. It may
import ``intercept`` and the rooms below that. What the files of a run mean, and which fault strikes it, never
come in.
"""
