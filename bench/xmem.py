"""What XMem costs at its working size, 480p, with random weights: time and memory by frame.

    python bench/xmem.py [--frames 12] [--base 64] [--threads 1]

Its cost does not depend on what the weights are, but its masks do, so nothing is said of those.
"""

import argparse
import resource
import time

import torch

from avipipe.annotators.xmem.inference import MEMORY_EVERY, Tracker
from avipipe.annotators.xmem.network import Widths, XMem

HEIGHT_PX, WIDTH_PX = 480, 854


def peak_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--base", type=int, default=64, help="width of the net; 64 is the real one")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    widths = Widths(*(width * arguments.base // 64 for width in Widths()))
    tracker = Tracker(XMem(widths).eval().to(device))
    image = torch.randn(3, HEIGHT_PX, WIDTH_PX, device=device)
    mask = torch.zeros(1, HEIGHT_PX, WIDTH_PX, device=device)
    mask[:, 100:300, 200:500] = 1.0
    before_mib = peak_mib(device)
    print(f"{device}, {torch.get_num_threads()} threads, {WIDTH_PX}x{HEIGHT_PX}, {widths}")
    print(f"{'frame':>5}{'memorised':>11}{'elements':>10}{'wall s':>8}{'CPU s':>8}{'peak MiB':>10}")
    for frame in range(arguments.frames):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        tracker.step(image + 0.1 * torch.randn_like(image), mask if frame == 0 else None)
        if device == "cuda":
            torch.cuda.synchronize()
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        stores = (tracker.memory.work, tracker.memory.long)
        size = sum(store.size for store in stores if store is not None)
        memorised = "yes" if frame % MEMORY_EVERY == 0 else ""
        grown_mib = peak_mib(device) - before_mib
        print(f"{frame:>5}{memorised:>11}{size:>10}{wall_s:>8.2f}{cpu_s:>8.2f}{grown_mib:>10.0f}")


if __name__ == "__main__":
    main()
