"""Small trees of fMRIPrep and BIDS with true file names, true events and a planted response."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np

MNI = "MNI152NLin2009cAsym"
AFFINE = np.array([[-3.0, 0, 0, 10.5], [0, 3.0, 0, -12], [0, 0, 3.0, -8], [0, 0, 0, 1.0]])
SHAPE = (8, 8, 6)
# the voxels that answer, and the brain around them
ACTIVE = np.s_[2:4, 2:6, 1:4]
BRAIN = np.s_[1:7, 1:7, 1:5]
# share of the response in the volumes that begin 0, TR, 2 TR ... after the event
RESPONSE = np.array([0.0, 0.6, 1.0, 0.7, 0.2])
HAXBY = ("scissors", "face", "cat", "shoe", "house", "scrambledpix", "bottle", "chair")


def haxby_events(run: int) -> str:
    """Events in the form and times of ds000105: 8 blocks of 12 pictures, in the order of the run."""
    order = [HAXBY[(i * 3 + run) % 8] for i in range(8)]
    rows = [f"{12 + 36 * b + 2 * i:.3f}\t0.500\t{c}" for b, c in enumerate(order) for i in range(12)]
    return "onset\tduration\ttrial_type\n" + "\n".join(rows) + "\n"


def block_events(conditions: Sequence[str], *, first: float, every: float, lasts: float, n: int) -> str:
    """Blocks of equal length, the conditions in turn."""
    rows = [f"{first + every * i:g}\t{lasts:g}\t{conditions[i % len(conditions)]}" for i in range(n)]
    return "onset\tduration\ttrial_type\n" + "\n".join(rows) + "\n"


def planted(events: str, n_volumes: int, repetition_time: float, seed: int) -> np.ndarray:
    """Volumes (8, 8, 6, n): active voxels answer each condition by own weights; all drift and are noisy."""
    rng = np.random.default_rng(seed)
    weights_of = np.random.default_rng(0)
    lines = [line.split("\t") for line in events.splitlines()]
    columns = lines[0]
    rows = [dict(zip(columns, line, strict=True)) for line in lines[1:]]
    conditions = sorted({row["trial_type"] for row in rows})
    n_active = np.zeros(SHAPE)[ACTIVE].size
    signal = np.zeros((n_active, n_volumes))
    for condition in conditions:
        course = np.zeros(n_volumes)
        for row in rows:
            if row["trial_type"] == condition:
                begin, end = float(row["onset"]), float(row["onset"]) + float(row["duration"])
                times = np.arange(n_volumes) * repetition_time
                course += np.clip(
                    np.minimum(times + repetition_time, end) - np.maximum(times, begin), 0, None
                )
        course = np.convolve(course / repetition_time, RESPONSE)[:n_volumes]
        signal += weights_of.normal(size=n_active)[:, None] * course
    values = 1000 + 5 * rng.normal(size=(*SHAPE, n_volumes))
    values += 10 * np.linspace(-1, 1, n_volumes) * rng.normal(size=(*SHAPE, 1))
    values[ACTIVE] += 12 * signal.reshape(*np.zeros(SHAPE)[ACTIVE].shape, n_volumes)
    return values.astype(np.float32)


def write_volume(path: Path, values: np.ndarray, *, repetition_time: float | None = None) -> Path:
    """A NIfTI image whose sform and qform agree, with seconds in its header."""
    image = nibabel.Nifti1Image(values, AFFINE)
    image.set_sform(AFFINE, 4)
    image.set_qform(AFFINE, 4)
    image.header.set_xyzt_units("mm", "sec")
    if repetition_time is not None:
        image.header["pixdim"][4] = repetition_time
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def write_half(path: Path, values: np.ndarray) -> Path:
    """One hemisphere (n_vertices, n_volumes) as fMRIPrep writes it."""
    structure = "CortexLeft" if "hemi-L" in path.name or ".L." in path.name else "CortexRight"
    arrays = [
        nibabel.gifti.GiftiDataArray(volume.astype(np.float32), intent="NIFTI_INTENT_TIME_SERIES")
        for volume in values.T
    ]
    meta = nibabel.gifti.GiftiMetaData({"AnatomicalStructurePrimary": structure})
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays, meta=meta), path)
    return path


def write_confounds(path: Path, n_volumes: int, *, non_steady: int = 0, seed: int = 0) -> Path:
    """Confounds as fMRIPrep names them: n/a where a change has no first value."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[str]] = {}
    for axis in ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"):
        moved = np.cumsum(0.01 * rng.normal(size=n_volumes))
        change = np.diff(moved)
        columns[axis] = [f"{v:.8f}" for v in moved]
        columns[f"{axis}_derivative1"] = ["n/a", *(f"{v:.8f}" for v in change)]
        columns[f"{axis}_power2"] = [f"{v**2:.10f}" for v in moved]
        columns[f"{axis}_derivative1_power2"] = ["n/a", *(f"{v**2:.10f}" for v in change)]
    columns["framewise_displacement"] = ["n/a", *(f"{v:.6f}" for v in rng.random(n_volumes - 1))]
    for k in range(8):
        columns[f"a_comp_cor_{k:02d}"] = [f"{v:.8f}" for v in rng.normal(size=n_volumes)]
    time = (np.arange(n_volumes) + 0.5) / n_volumes
    for k in range(3):
        columns[f"cosine{k:02d}"] = [f"{v:.8f}" for v in np.cos(np.pi * (k + 1) * time)]
    for k in range(non_steady):
        columns[f"non_steady_state_outlier{k:02d}"] = [
            "1.0" if row == k else "0.0" for row in range(n_volumes)
        ]
    rows = ["\t".join(columns), *("\t".join(cells) for cells in zip(*columns.values(), strict=True))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")
    masks = {f"a_comp_cor_{k:02d}": {"Mask": "CSF" if k < 2 else "combined"} for k in range(8)}
    path.with_suffix(".json").write_text(json.dumps(masks))
    return path


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))
    return path


def brain_mask(missing: tuple[int, int, int] | None = None) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[BRAIN] = 1
    if missing is not None:
        mask[missing] = 0
    return mask


def write_run(
    derivatives: Path,
    raw: Path,
    name: str,
    events: str | None,
    *,
    n_volumes: int = 60,
    repetition_time: float = 2.0,
    start_time: float | None = 0.0,
    seed: int = 0,
    non_steady: int = 0,
    spaces: Sequence[str] = (MNI,),
    surfaces: Sequence[str] = (),
    missing_voxel: tuple[int, int, int] | None = None,
) -> None:
    """Write one run: `name` is its beginning (``sub-1/func/sub-1_task-objectviewing_run-01``)."""
    values = planted(
        events or block_events(["rest"], first=0, every=9, lasts=1, n=2), n_volumes, repetition_time, seed
    )
    about: dict[str, object] = {"RepetitionTime": repetition_time, "SkullStripped": False}
    if start_time is not None:
        about |= {"StartTime": start_time, "SliceTimingCorrected": True}
    stem = derivatives / name
    for space in spaces:
        label = f"{stem}_space-{space}" if space else str(stem)
        write_volume(Path(f"{label}_desc-preproc_bold.nii.gz"), values, repetition_time=repetition_time)
        write_json(Path(f"{label}_desc-preproc_bold.json"), about)
        write_volume(Path(f"{label}_desc-brain_mask.nii.gz"), brain_mask(missing_voxel))
        write_volume(Path(f"{label}_boldref.nii.gz"), values[..., 0])
    for space in surfaces:
        for hemi, part in (("L", values[:4]), ("R", values[4:])):
            half = f"{stem}_hemi-{hemi}_space-{space}_bold"
            write_half(Path(f"{half}.func.gii"), part.reshape(-1, n_volumes))
            write_json(Path(f"{half}.json"), about)
    write_confounds(
        Path(f"{stem}_desc-confounds_timeseries.tsv"), n_volumes, non_steady=non_steady, seed=seed
    )
    if events is not None:
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / f"{name}_events.tsv").write_text(events)


def haxby_tree(
    root: Path,
    *,
    runs: Sequence[int] = (1, 2, 3, 4),
    subjects: Sequence[str] = ("1",),
    n_volumes: int = 121,
    **options: object,
) -> Path:
    """A BIDS folder with the names of ds000105 and ``derivatives/fmriprep`` below; returns the root."""
    describe(root, root / "derivatives" / "fmriprep")
    for subject in subjects:
        for run in runs:
            write_run(
                root / "derivatives" / "fmriprep",
                root,
                f"sub-{subject}/func/sub-{subject}_task-objectviewing_run-{run:02d}",
                haxby_events(run),
                n_volumes=n_volumes,
                repetition_time=2.5,
                seed=run,
                **options,  # type: ignore[arg-type]
            )
        (root / f"sub-{subject}" / "anat").mkdir()
    return root


def describe(raw: Path, derivatives: Path, **more: object) -> None:
    """The two dataset_description.json, as OpenNeuro and fMRIPrep write them."""
    write_json(raw / "dataset_description.json", {"Name": "test", "BIDSVersion": "1.0.0", "License": "CC0"})
    about = {
        "Name": "fMRIPrep - fMRI PREProcessing workflow",
        "BIDSVersion": "1.4.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.2.1"}],
        **more,
    }
    write_json(derivatives / "dataset_description.json", about)


def true_paths(sidecars: Path, dataset: str, wanted: Callable[[str], bool]) -> list[str]:
    """Paths of a public dataset, from its ``tree.tsv``."""
    lines = (sidecars / dataset / "tree.tsv").read_text().splitlines()[1:]
    return [path for path in (line.split("\t")[0] for line in lines) if wanted(path)]


def annex_links(root: Path, paths: Sequence[str]) -> None:
    """Links of git-annex without their content, for those paths that do not exist."""
    for path in paths:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(f"../.git/annex/objects/aa/bb/MD5E-s1--{abs(hash(path))}/{place.name}")
