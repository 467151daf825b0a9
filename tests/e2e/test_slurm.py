"""examples/slurm/ on a real Slurm of two local nodes. Skipped, visibly, where Debian's slurm-wlm is not installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtrl.demo.walkthrough import tiny
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("slurmctld") is None, reason="no Slurm here (apt-get install slurm-wlm)"),
]
CONF = """
ClusterName=mtrl
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool-%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd-%n.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def free(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which sbatch reaches a Slurm of two nodes on this machine."""
    home = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool-n1", "spool-n2"):
        (home / name).mkdir()
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    conf = home / "slurm.conf"
    conf.write_text(CONF.format(host=socket.gethostname().split(".")[0], user=user, home=home, ports=free(3)))
    env = {**os.environ, "SLURM_CONF": str(conf)}
    daemons = [["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]]
    running = [
        subprocess.Popen(daemon, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for daemon in daemons
    ]
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(["sinfo", "-h", "-t", "idle", "-o", "%D"], env=env, capture_output=True).stdout != b"2\n":
            assert time.monotonic() < deadline, "the two nodes did not come up"
            time.sleep(0.5)
        yield env
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:  # it waits for a job that was cancelled
                process.kill()


def sbatch(project: Path, slurm: dict[str, str], script: str, *arguments: str, fails: bool = False, **env: str) -> str:
    """Submits examples/slurm/<script> without its GPUs, waits for its end, and returns its log."""
    shutil.copytree(ROOT / "examples", project / "examples", dirs_exist_ok=True)
    command = ["sbatch", "--wait", "--gpus-per-node=0", "--output=job.log", f"examples/slurm/{script}", *arguments]
    own = {"MTRL": str(Path(sys.executable).with_name("mtrl")), "HEAD": "127.0.0.1", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        command, cwd=project, env={**slurm, **own, **env}, capture_output=True, text=True, timeout=900
    )
    log = (project / "job.log").read_text() if (project / "job.log").exists() else ""
    assert (done.returncode != 0) == fails, done.stderr + log
    return log


def test_sft_over_two_nodes(project: Path, slurm: dict[str, str]) -> None:
    preset = (ROOT / "recipes" / "hardware" / "cpu.yaml").read_text().replace("nodes: 1", "nodes: 2")
    (project / "recipes" / "hardware").mkdir(parents=True, exist_ok=True)
    (project / "recipes" / "hardware" / "two-cpus.yaml").write_text(preset)
    recipe = ["sft_unified", "--model", "tiny", "--hardware", "two-cpus", "--set", "tasks=demo_quality"]
    sbatch(
        project, slurm, "sft.sbatch", *recipe, "--set", "sft.epochs=1", "--set", "sft.validate_every=16", "--name", "n"
    )
    assert json.loads((project / "runs/n/status.json").read_text())["state"] == "done"
    assert json.loads((project / "runs/n/checkpoints/trainer_state.json").read_text())["global_step"] == 16
    assert (project / "runs/n/log-1.txt").stat().st_size > 0  # the second node trained


def test_a_preset_of_more_nodes_than_the_job_has(project: Path, slurm: dict[str, str]) -> None:
    preset = (ROOT / "recipes" / "hardware" / "cpu.yaml").read_text().replace("nodes: 1", "nodes: 4")
    (project / "recipes" / "hardware").mkdir(parents=True, exist_ok=True)
    (project / "recipes" / "hardware" / "four-cpus.yaml").write_text(preset)
    recipe = ["sft_unified", "--model", "tiny", "--hardware", "four-cpus", "--set", "tasks=demo_quality"]
    log = sbatch(project, slurm, "sft.sbatch", *recipe, fails=True)
    assert "SLURM_NNODES is 2, and hardware four-cpus has nodes 4" in log


def test_replicas_on_the_jobs_nodes(project: Path, slurm: dict[str, str]) -> None:
    judge = ["--ckpt", str(tiny()), "--tasks", "demo_quality", "--limit", "16", "--out", "scored", "--replicas", "2"]
    ray = str(Path(sys.executable).with_name("ray"))
    sbatch(project, slurm, "eval.sbatch", *judge, RAY=ray, RAY_PORT=str(free(1)[0]))
    engine = json.loads((project / "scored" / "eval.json").read_text())["engine"]
    assert json.loads((project / "scored" / "metrics.json").read_text())["demo_quality"]["n"] == 16
    assert engine["replicas"] == 2, engine


def test_rl_sees_the_cluster_that_its_job_started(project: Path, slurm: dict[str, str]) -> None:
    """Up to what would be launched: training on Ray needs GPUs."""
    preset = (ROOT / "recipes" / "hardware" / "16x80gb.yaml").read_text()
    (project / "recipes" / "hardware").mkdir(parents=True, exist_ok=True)
    (project / "recipes" / "hardware" / "two.yaml").write_text(preset)
    recipe = ["rl_multitask", "--model", "tiny", "--hardware", "two", "--set", "tasks=demo_quality", "--dry-run"]
    ray, port = str(Path(sys.executable).with_name("ray")), str(free(1)[0])
    sbatch(project, slurm, "rl.sbatch", *recipe, "--set", "backend=verl", "--name", "n", RAY=ray, RAY_PORT=port)
    assert f"RAY_ADDRESS=127.0.0.1:{port}" in (project / "runs/n/command.sh").read_text()
