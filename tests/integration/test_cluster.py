"""The launch recipes of docs/cluster.md: two "nodes" on one machine, and a job that is requeued."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
RECIPES = (ROOT / "docs" / "cluster.md").read_text()
TINY = Path(__file__).with_name("tiny.yaml")
SETTINGS = [f"--config={TINY}", "--data.table=t.lance", "--trainer.limit_val_batches=0"]
SETTINGS += ["--checkpoint.monitor=null"]


def block(language: str, word: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", RECIPES, re.DOTALL)
    return next(text for text in found if word in text)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (path,) = folder.glob("logs/tiny/version_0/checkpoints/last.ckpt")
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    assert isinstance(state, dict)
    return state


@pytest.mark.promise("Ranks: two nodes train like two devices of one")
@pytest.mark.slow
def test_two_nodes_train_like_two_devices_of_one(tmp_path: Path):
    alone, apart = tmp_path / "alone", tmp_path / "apart"
    for folder in (alone, apart):
        folder.mkdir()
    program = ["-m", "syncsam_lightning.cli.main", "fit", *SETTINGS, "--trainer.strategy=ddp"]
    prepare = [sys.executable, "-m", "syncsam_lightning.cli.main", "prepare", "MNI152", "-"]
    for folder in (alone, apart):
        options = ["t.lance", "--options.image_size", "64"]
        subprocess.run([*prepare, *options], cwd=folder, env=environment(), check=True)

    one = [sys.executable, *program, "--trainer.devices=2"]
    subprocess.run(one, cwd=alone, env=environment(), check=True, timeout=300)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    recipe = shlex.split(block("", "torchrun").replace("\\\n", " "))
    launch = recipe[: recipe.index("-m")]
    assert launch[0] == "torchrun"
    nodes = []
    for rank in range(2):
        given = dict(zip(launch[1::2], launch[2::2], strict=True)) | {
            "--node_rank": str(rank),
            "--nproc_per_node": "1",
            "--master_addr": "127.0.0.1",
            "--master_port": str(port),
        }
        command = [sys.executable, "-m", "torch.distributed.run"]
        command += [word for pair in given.items() for word in pair]
        command += [*program, "--trainer.num_nodes=2", "--trainer.devices=1"]
        nodes.append(subprocess.Popen(command, cwd=apart, env=environment()))
    assert [node.wait(timeout=300) for node in nodes] == [0, 0]

    expected, found = weights(alone), weights(apart)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


@pytest.mark.promise("Resume: a SLURM job that was asked to stop is requeued")
@pytest.mark.parametrize(("status", "requeues"), [(143, True), (0, False), (1, False)])
def test_a_job_is_requeued_if_it_was_asked_to_stop(tmp_path: Path, status: int, requeues: bool):
    script = tmp_path / "job.sh"
    script.write_text(block("bash", "#SBATCH"))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in (
        ("srun", f'echo "$@" > srun.txt; exit {status}'),
        ("scontrol", 'echo "$@" > scontrol.txt'),
    ):
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    slurm = {"SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "8", "SLURM_JOB_ID": "17"}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(script)], cwd=tmp_path, env=environment(PATH=path, **slurm), check=False
    )
    assert done.returncode == status
    started = (tmp_path / "srun.txt").read_text().split()
    assert started[:3] == ["--kill-on-bad-exit=1", "syncsam", "fit"]
    assert "--trainer.num_nodes 2 --trainer.devices 8 --ckpt_path last" in " ".join(started)
    assert (tmp_path / "scontrol.txt").exists() == requeues
    if requeues:
        assert (tmp_path / "scontrol.txt").read_text() == "requeue 17\n"
