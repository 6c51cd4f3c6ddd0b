"""A process that decodes is killed by the system: it is named, and the next run goes on from there."""

import os
import signal

from pure_cli.data import loader


def test_collect_goes_on_where_a_worker_was_killed(study, refused, monkeypatch, tmp_path):
    options = (*study.inputs, "--workers", 2, "--batch-size", 2)
    assert study.pure("collect", *options).code == 0
    undisturbed = study.file("collect").read_bytes()
    study.file("collect").unlink()

    seen, fatal, decoded = tmp_path / "seen", study.image(16), loader._decoded

    def deadly(raw, preprocessing):
        with seen.open("a") as log:
            log.write(f"{raw.name}\n")
        if raw == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return decoded(raw, preprocessing)

    monkeypatch.setattr(loader, "_decoded", deadly)  # the workers are forks and have it too
    refused(study.pure("collect", *options), "worker", "killed by SIGKILL", "--workers 0", code=1)
    seen.unlink()
    fatal = None
    assert study.pure("collect", *options).code == 0
    again = set(seen.read_text().split())  # the checks before it look at a few images several times
    assert len(again) < 24 and study.image(16).name in again
    assert study.file("collect").read_bytes() == undisturbed
