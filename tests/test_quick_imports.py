"""torch's compiler is not loaded with torchvision and timm, and is there when it is needed."""

import subprocess
import sys

import pytest

IMPORT = """
import sys, torch
from pure_cli.quick_imports import compiler_later
with compiler_later():
    import torchvision, timm
"""


def result(code: str) -> str:
    """What a process prints."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT + code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_networks_of_both_run_without_the_compiler():
    assert (
        result("""
image = torch.zeros(2, 3, 64, 64)
timm.create_model("resnet10t")(image), torchvision.models.mobilenet_v3_small()(image)
print(sorted(name for name in sys.modules if name.startswith(("torch._dynamo", "sympy"))))
""")
        == "[]"
    )


@pytest.mark.parametrize(
    "use",
    [
        "from torchvision.ops.roi_align import is_compile_supported; print(is_compile_supported('cpu') is None)",
        """
with torch.no_grad():
    model = timm.create_model("naflexvit_base_patch16_gap", img_size=32, depth=1).eval()
    print(model(torch.zeros(1, 3, 32, 32)).shape != (1, 1000))
""",
    ],
)  # fmt: skip
def test_what_was_kept_of_it_loads_it_when_it_is_used(use):
    assert result(use) == "False"


def test_functions_that_are_not_to_be_compiled_are_not():
    """A compiled function that calls one breaks there, as with torch's own decorator."""
    assert (
        result("""
from pure_cli import quick_imports
seen = []
for disable in (quick_imports._disable, torch.compiler.disable):
    inner = disable(lambda x: x * 2)
    graphs = []
    def backend(graph, example): graphs.append(graph); return graph.forward
    outer = torch.compile(lambda x: inner(x + 1) + 1, backend=backend)
    seen.append((outer(torch.ones(1)).item(), len(graphs)))
print(seen[0] == seen[1], seen[0][0])
""")
        == "True 5.0"
    )
