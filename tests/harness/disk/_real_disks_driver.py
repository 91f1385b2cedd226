"""Runs scenarios on a real file system and asks the model whether it admits what is left at each op.

``python _real_disks_driver.py KIND PLACE FILE...`` prints a JSON object for each scenario. It is a process of
its own, for it mounts, and reaps all its children.
"""

import json
import sys
from pathlib import Path

from outlive_harness.disk.persistence.admit import UndecidedError
from outlive_harness.disk.power import PowerModel
from outlive_harness.disk.realfs import RealFs, mounted
from outlive_harness.disk.removal import remove_tree
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.reap import adopt_orphans
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario_files import load_file
from outlive_harness.world.runner import Runner


def main():
    adopt_orphans()
    kind, place = sys.argv[1], Path(sys.argv[2])
    runner = Runner(place / "w000")
    for file in sys.argv[3:]:
        (scenario,) = load_file(file)
        spec = run_spec_of(scenario)
        runner.prepare(spec, place / "template")
        for commits in (False, True):
            found = examine(runner, spec, kind, place, commits=commits)
            sys.stdout.write(json.dumps({"name": scenario.name, "commits": commits, **found}) + "\n")
    runner.clear()


def examine(runner, spec, kind, place, *, commits):
    """Copy the disk before each op and at the end; mount the copies, and ask."""
    images = place / "images"
    remove_tree(images)
    images.mkdir()
    remove_tree(runner.box.path)
    ops = []
    with RealFs(kind, place / "image", runner.box.path) as disk:
        runner.box.pour(place / "template")
        disk.sync()

        def copy():
            if commits:
                disk.commit()
            disk.snapshot(images / str(len(ops)))

        def visit(op, _number):
            copy()
            ops.append(op)
            return GO

        ran = runner.run(spec, RunOptions(timeout=60, visit=visit, data=True))
        copy()
        end = runner.box.look(spec)
    model = PowerModel(place / "template", ops)
    differs = model.state(len(ops), ()).tree(runner.box.bytes) != end
    denied, trees = [], set()
    for at in range(len(ops) + 1):
        with mounted(kind, images / str(at), runner.box.path):
            trees.add(repr(sorted(runner.box.look(spec).items())))
            denied += [
                [profile, at, why]
                for profile in ("posix", kind)
                if (why := objects(model, profile, runner, at))
            ]
    return {
        "ops": len(ops),
        "states": len(trees),
        "failure": ran.failure(),
        "differs": differs,
        "denied": denied,
    }


def objects(model, profile, runner, at):
    """Say how the model is at odds with the real thing; "" if it admits it."""
    try:
        if model.under(profile).admits(runner.box.path, at):
            return ""
    except UndecidedError as error:
        return str(error)
    left = {
        str(path.relative_to(runner.box.path)): path.lstat().st_size
        for path in sorted(runner.box.path.rglob("*"))
    }
    return json.dumps(left)


main()
