"""Run RELION's own symmetry expansion on all cases and record its answers.

Run ``python tests/record_relion.py``; it writes ``tests/relion_recorded.json``, which
``test_relion.py`` reads where RELION is not installed.
"""

import json
import tempfile
from pathlib import Path

from relion_peer import CASES, expand_with_relion, make_particles, relion_version

RECORD = Path(__file__).with_name("relion_recorded.json")


def record(case):
    """Particles of a case and RELION's mates of each, rounded as RELION prints them."""
    particles = make_particles(case.particles)
    with tempfile.TemporaryDirectory() as folder:
        mates = expand_with_relion(case, particles, Path(folder))
    return {"arguments": case.arguments, "particles": particles.tolist(), "mates": mates}


def main():
    """Write the record, one case a line."""
    lines = [f'"program": {json.dumps(relion_version())}']
    for case in CASES:
        text = json.dumps(record(case), separators=(",", ":"))
        lines.append(f'"{case}": {text}')
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
