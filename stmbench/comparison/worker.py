"""The worker script of a live comparison: builds models with the code of one side, and runs them on request.

It runs as a standalone script in a process that imports the code of one side, whose layout and age may differ from this
file's: it uses `stmbench.create_model(name)` and nothing else of it, and torch.

On the CPU each model is built in a fork of the process that imported everything, which exits when the model is
unloaded: its memory layout makes a process faster or slower than its twin by a percent or more, as long as it lives.

Requests are lines of JSON on standard input, each answered by one line of JSON: {"ok": true, ...} or {"ok": false,
"reason": "..."}. Whatever a model prints goes to standard error.

    {"do": "hello", "threads": 1, "plugins": ["mixer.py"], "slowdown": 0.0}     versions, and the path of stmbench
    {"do": "load", "model": ..., "seed": 0, "device": "cpu", "dtype": "fp32", "batch": 8, "resolution": null}
    {"do": "run", "passes": 3, "core": null}     [wall clock, processor] seconds of the probe and of the passes
    {"do": "unload"}
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

PACKAGES = ("torch", "torchvision", "timm", "numpy")
PROBE_SIDE = {"cpu": 640, "cuda": 4096}  # of the square matrices
PROBE_BYTES = {"cpu": 2**25, "cuda": 2**28}


def load_plugin(path: str, number: int) -> None:
    """Run a file, a package, or every file of a folder; they may import the files beside them."""
    package, is_folder = os.path.join(path, "__init__.py"), os.path.isdir(path)
    if is_folder and os.path.isfile(package):
        sys.path.append(os.path.dirname(os.path.abspath(path)))
        importlib.import_module(os.path.basename(os.path.abspath(path)))
        return
    folder = os.path.abspath(path) if is_folder else os.path.dirname(os.path.abspath(path))
    sys.path.append(folder)
    if is_folder:
        for name in sorted(name for name in os.listdir(folder) if name.endswith(".py")):
            importlib.import_module(name.removesuffix(".py"))
        return
    spec = importlib.util.spec_from_file_location(f"stmbench_compare_plugin_{number}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


class Worker:
    """The loaded model and its probe."""

    def __init__(self) -> None:
        self.run_model: Callable[[], object] = nothing
        self.probe: Callable[[], object] = nothing
        self.wait: Callable[[], object] = nothing
        self.slowdown = 0.0  # share of a pass's processor time that is burnt after it

    def hello(self, request: dict[str, Any]) -> dict[str, Any]:
        import torch

        import stmbench

        self.slowdown = request["slowdown"]
        if request["threads"]:
            torch.set_num_threads(request["threads"])
        for number, path in enumerate(request["plugins"]):
            load_plugin(path, number)
        versions = {name: version_of(name) for name in PACKAGES}
        versions["cuda"] = torch.version.cuda
        stmbench.create_model  # noqa: B018 - imports it, once for all forks
        own = {"stmbench": getattr(stmbench, "__version__", None), "python": platform.python_version()}
        return {
            "package": os.path.dirname(os.path.abspath(stmbench.__file__)),
            "software": {**own, **versions},
            "threads": torch.get_num_threads(),
        }

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        import torch

        import stmbench

        device = torch.device(request["device"])
        named = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = named[request["dtype"]]
        if device.type == "cuda":
            self.wait = lambda: torch.cuda.synchronize(device)  # not necessarily the current one
            # as in a profile, and the same on both sides: fp32 is fp32, in products and in convolutions
            tf32 = request["dtype"] == "tf32"
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            torch.backends.cudnn.benchmark = True
        torch.manual_seed(request["seed"])
        model = stmbench.create_model(request["model"]).to(device=device, dtype=dtype).eval()
        sides = request["resolution"] or getattr(model, "default_cfg", {}).get("input_size", (3, 224, 224))[1:]
        images = torch.randn(request["batch"], 3, *sides).to(device=device, dtype=dtype)

        def run_model() -> None:
            with torch.no_grad():
                model(images)

        run_model()  # a failure shows here
        self.run_model, self.probe = run_model, make_probe(device, dtype)
        self.probe()
        return {"params": sum(parameter.numel() for parameter in model.parameters()), "resolution": list(sides)}

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["core"] is not None:
            os.sched_setaffinity(0, {request["core"]})
        probe = self.timed(self.probe, 1)
        return {"probe": probe, "passes": self.timed(self.run_model, request["passes"])}

    def unload(self, request: dict[str, Any]) -> dict[str, Any]:
        self.run_model = self.probe = nothing
        gc.collect()
        return {}

    def timed(self, work: Callable[[], object], times: int) -> list[float]:
        """Seconds of the wall clock, and of the processor in all threads of this process."""
        start, processor = time.perf_counter(), time.process_time()
        for _ in range(times):
            before = time.process_time()
            work()
            if self.slowdown and work is self.run_model:
                end = time.process_time() + self.slowdown * (time.process_time() - before)
                while time.process_time() < end:
                    pass
        self.wait()
        return [time.perf_counter() - start, time.process_time() - processor]


def nothing() -> None:
    """The workload when no model is loaded."""


def make_probe(device: Any, dtype: Any) -> Callable[[], None]:
    """A fixed workload: a matrix product and a copy."""
    import torch

    side, size = (sizes.get(device.type, sizes["cpu"]) for sizes in (PROBE_SIDE, PROBE_BYTES))
    # random values: multiplying constants draws less power, so the processor would run faster
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=generator).to(device=device, dtype=dtype) for _ in range(2))
    product, source = torch.empty_like(a), torch.arange(size // 4, device=device, dtype=torch.float32)
    target = torch.empty_like(source)

    def probe() -> None:
        torch.mm(a, b, out=product)
        target.copy_(source)

    return probe


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def reason_of(error: BaseException) -> str:
    text = " ".join(str(error).split())[:300]
    return f"its code called sys.exit({text})" if isinstance(error, SystemExit) else f"{type(error).__name__}: {text}"


def serve(worker: Worker, answers: TextIO, *, inside: bool) -> None:
    """Answer requests until the input ends; `inside` a child, until its model is unloaded."""
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "load" and request["device"] == "cpu" and hasattr(os, "fork") and not inside:
            child = os.fork()
            if child:
                follow(child)
                continue
            inside = True
        try:
            answer = {"ok": True, **getattr(worker, request["do"])(request)}
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit in a model does not end the worker
            answer = {"ok": False, "reason": reason_of(error)}
        answers.write(json.dumps(answer) + "\n")
        if inside and request["do"] == "unload":
            os._exit(0)


def follow(child: int) -> None:
    """Wait for a child to exit; if it failed, exit the same way."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    elif code:
        os._exit(code)


def main() -> None:
    # from now on everything written to descriptor 1, by Python or a library, goes to standard error
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    serve(Worker(), answers, inside=False)


if __name__ == "__main__":
    main()
