"""Submit a build to a Ray cluster as a job, and follow its log until it ends.

    ray start --head
    RAY_AUTH_MODE=token python examples/submit_build.py --source demo/clips/sources.txt \\
        --out demo/cluster --work demo/cluster-work

The script needs `ray[default]` (the job server is part of the dashboard) where it runs and on the
head node; the nodes need avipipe. See docs/cluster.md.
"""

import argparse
import asyncio
import shlex
import sys
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient


def build_command(source: str, out: str, work: str, extra: list[str]) -> str:
    """The entry point of the job. Local paths are made absolute: a job runs elsewhere."""
    words = ["avipipe", "build", "--source", _absolute(source), "--out", _absolute(out)]
    words += ["--work", _absolute(work), "--ray-address", "auto", *extra]
    return shlex.join(words)


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).absolute())


async def follow(client: JobSubmissionClient, job_id: str) -> JobStatus:
    async for text in client.tail_job_logs(job_id):
        sys.stdout.write(text)
    status = client.get_job_status(job_id)
    while not status.is_terminal():
        await asyncio.sleep(1)
        status = client.get_job_status(job_id)
    return status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--address", default="http://127.0.0.1:8265", help="job server")
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--work", required=True, help="folder that all nodes share")
    arguments, extra = parser.parse_known_args()
    client = JobSubmissionClient(arguments.address)
    job_id = client.submit_job(
        entrypoint=build_command(arguments.source, arguments.out, arguments.work, extra),
        entrypoint_num_cpus=0,
    )
    status = asyncio.run(follow(client, job_id))
    print(f"{job_id}: {status}")
    sys.exit(0 if status == JobStatus.SUCCEEDED else 1)


if __name__ == "__main__":
    main()
