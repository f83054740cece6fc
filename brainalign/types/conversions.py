"""Responses from files and objects of other packages: volumes, maps of trials, sensors, surfaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self


class Conversions:
    """Alternative constructors of `Responses`; the readers are imported when they are called."""

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...

    @classmethod
    def from_nifti(
        cls,
        image: Any,
        mask: Any = None,
        events: Any = None,
        *,
        repetition_time: float | None = None,
        rois: Mapping[str, Any] | None = None,
        design: str = "continuous",
        subject: str | None = None,
        session: Any = None,
        run: Any = None,
        affine_from: str | None = None,
        space: str | None = None,
        unit: str = "a.u.",
        slice_time_ref: float = 0.0,
        info: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read time series of volumes: one sample per volume, one unit per voxel.

        Parameters
        ----------
        image : path (.nii, .nii.gz), nibabel NIfTI image, or a list of them: one 4-D image per run
        mask : image or (ni, nj, nk) array of 0 and 1. None: the voxels that vary and are
            never missing (``info["mask"]`` counts them).
        events : tab-separated file, DataFrame or mapping with `onset` [s from the start of the
            run], `duration` [s], `trial_type` or `condition`, optional `stimulus_id`. For
            several runs a list, or one table with a column `run`.
        repetition_time : seconds between volumes, where the header does not say it
        rois : {name: image of 0 and 1, or of integer labels, or (image, names of the labels)}
        design : ``"continuous"`` or ``"blocks"``
        subject, session : labels; session may be a list, one per run
        run : label, a list of labels, or for runs concatenated in one image an array with
            the label of each volume. None: "1", "2" ...
        affine_from : ``"sform"`` or ``"qform"``, needed where both are set and disagree, and
            where neither is set (nothing then says which side is left)
        space : name of the space. None: from ``_space-NAME_`` in the file name, else from the
            code in the header ("scanner", "aligned", "talairach", "mni152", "template").
        unit : physical unit of the values
        slice_time_ref : moment within a volume that slice-time correction referred to, as a
            fraction of the repetition time (fMRIPrep: 0.5); the onsets of the samples move by it
        info : source, licence, citation ...

        Returns
        -------
        Responses
            float32 (n_volumes, n_voxels), scaled as the header says; NaN stays NaN. `samples`:
            run, onset [s], session, subject, and with events condition (of the event that
            covers the onset, None at rest). `units`: i, j, k, x, y, z [mm, RAS+], ``roi_*``.
            `info`: affine, volume_shape, space, repetition_time [s], events (columns as
            lists), units_without_signal (counts).

        Raises
        ------
        AlignmentError
            Mask, regions or runs lie on another grid (a flip or shift is named); events
            outside their run.
        InputError
            sform and qform disagree; the repetition time is not known or contradicts the
            header; infinite values; a mask that is no mask; events without what they need.
        CorruptFileError
            A cut or damaged file, a header that the file cannot fill, a placeholder.

        Notes
        -----
        A path is read once, in blocks of volumes, to its end, so that the checksum of gzip is
        compared. Memory: 4 bytes x volumes x voxels of the mask.

        Examples
        --------
        >>> from brainalign.types import Responses
        >>> import nibabel, numpy as np
        >>> noise = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
        >>> bold = nibabel.Nifti1Image(noise, np.diag([2, 2, 2, 1]))
        >>> events = {"onset": [4.0], "duration": [4.0], "condition": ["face"]}
        >>> r = Responses.from_nifti(bold, events=events, repetition_time=2.0)
        >>> r.shape, r.samples["condition"].tolist()
        ((6, 60), [None, None, 'face', 'face', None, None])
        """
        from brainalign.types._nifti import responses_of_volumes

        return cls(
            **responses_of_volumes(
                image,
                mask,
                events,
                repetition_time=repetition_time,
                rois=rois,
                design=design,
                subject=subject,
                session=session,
                run=run,
                affine_from=affine_from,
                space=space,
                unit=unit,
                slice_time_ref=slice_time_ref,
                info=info,
            )
        )

    @classmethod
    def from_betas(
        cls,
        betas: Any,
        stimuli: Any,
        *,
        mask: Any = None,
        affine: Any = None,
        rois: Mapping[str, Any] | None = None,
        subject: str | None = None,
        session: Any = None,
        run: Any = None,
        repetition: Any = None,
        space: str | None = None,
        unit: str = "a.u.",
        affine_from: str | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> Self:
        """Take one map per trial (betas of a GLM): design "trials", one unit per voxel.

        Parameters
        ----------
        betas : path or nibabel image (ni, nj, nk, n_trials), or array (n_trials, ni, nj, nk) or
            (n_trials, n_voxels); flat betas are the voxels of `mask` with k fastest
        stimuli : the stimulus_id of each trial, or a DataFrame of samples
        mask : image or (ni, nj, nk) array of 0 and 1. None: for volumes the voxels that vary.
        affine : (4, 4) voxel to mm, for arrays; a mask image brings its own
        rois, space, unit, affine_from, info : as in `from_nifti`; arrays may be regions too
        subject, session, run : one label, or (session, run) one per trial
        repetition : one per trial. None: the trials of a stimulus are counted in order.

        Returns
        -------
        Responses
            float32 (n_trials, n_voxels); `units` and `info` as from `from_nifti`, without
            positions where no grid is known.

        Raises
        ------
        AlignmentError
            Another number of maps than trials, another grid of mask or regions.
        InputError, ShapeError, CorruptFileError
            As `from_nifti`; a trial without stimulus; a label given twice.

        Examples
        --------
        >>> from brainalign.types import Responses
        >>> import numpy as np
        >>> r = Responses.from_betas(np.eye(3), ["a", "b", "a"], subject="01")
        >>> r.samples["repetition"].tolist(), r.info["design"]
        (['1', '1', '2'], 'trials')
        """
        from brainalign.types._betas import responses_of_betas

        return cls(
            **responses_of_betas(
                betas,
                stimuli,
                mask=mask,
                affine=affine,
                rois=rois,
                subject=subject,
                session=session,
                run=run,
                repetition=repetition,
                space=space,
                unit=unit,
                affine_from=affine_from,
                info=info,
            )
        )

    @classmethod
    def from_mne(
        cls,
        instance: Any,
        *,
        stimulus: str | None = None,
        picks: Any = "data",
        design: str | None = None,
        subject: str | None = None,
        session: Any = None,
        run: Any = None,
        duration: float | None = None,
        check_amplitude: bool = True,
        info: Mapping[str, Any] | None = None,
    ) -> Self:
        """Take a recording of sensors: MNE Raw, Epochs, Evoked, a list of Evoked, or a .fif file.

        Parameters
        ----------
        instance : Raw (continuous), Epochs (one row per epoch), Evoked (one row each)
        stimulus : column of the metadata (or ``"condition"``) that holds the stimulus_id
        picks : channels, as MNE picks them; ``"data"`` leaves out reference sensors
        design : None: "continuous" for Raw, "trials" for the others; a Raw may be "blocks"
        subject, session, run : labels; Raw: run "1" where none is given
        duration : seconds that the recording is known to last; the sampling rate must agree
            within one sample
        check_amplitude : refuse values that no brain makes (microvolt stored as volt ...)
        info : source, licence, citation ...

        Returns
        -------
        Responses
            V, T, T/m. Raw: (n_samples, n_sensors); Epochs, Evoked: (n_rows, n_sensors, n_times)
            with `times` [s]. float32, or float64 where an offset would round the signal away.
            `samples`: condition (names in event_id, comment, annotation), metadata columns,
            onset [s]: Raw from its first sample, Epochs as their events count, from sample 0.
            `units`: ch_type, unit, x, y, z [mm, head]. `info`: sampling_rate [Hz],
            coordinate_frame, events (annotations), bad_stretches, bads_dropped, flat_channels.

        Raises
        ------
        InputError
            An amplitude out of range (channel named); duplicate epochs, annotations, comments;
            a design that does not fit; a sampling rate that contradicts `duration`.
        AlignmentError
            Events outside the recording; evoked responses with other channels or times.
        UnknownNameError
            No such column of the metadata.
        CorruptFileError
            A .fif file that was cut or cannot be read.

        Examples
        --------
        >>> from brainalign.types import Responses
        >>> import mne
        >>> import numpy as np
        >>> noise = 1e-5 * np.random.default_rng(0).normal(size=(4, 2, 30))
        >>> epochs = mne.EpochsArray(noise, mne.create_info(2, 100.0, "eeg"), verbose="ERROR")
        >>> Responses.from_mne(epochs, subject="01").shape
        (4, 2, 30)
        """
        from brainalign.types._mne import responses_of_sensors

        return cls(
            **responses_of_sensors(
                instance,
                stimulus=stimulus,
                picks=picks,
                design=design,
                subject=subject,
                session=session,
                run=run,
                duration=duration,
                check_amplitude=check_amplitude,
                info=info,
            )
        )

    @classmethod
    def from_surface(
        cls,
        left: Any = None,
        right: Any = None,
        *,
        mask: Mapping[str, Any] | None = None,
        events: Any = None,
        stimuli: Any = None,
        repetition_time: float | None = None,
        rois: Mapping[str, Any] | None = None,
        design: str = "continuous",
        subject: str | None = None,
        session: Any = None,
        run: Any = None,
        space: str | None = None,
        unit: str = "a.u.",
        slice_time_ref: float = 0.0,
        info: Mapping[str, Any] | None = None,
    ) -> Self:
        """Take values per vertex of one or both hemispheres: one unit per vertex.

        Parameters
        ----------
        left, right : GIFTI file (.func.gii), nibabel GiftiImage, array (n_samples, n_vertices),
            or a list of them, one per run
        mask : {"left": ..., "right": ...} of 0 and 1 per vertex (the cortex without the medial
            wall). None: the vertices that vary and are never missing.
        events, subject, session, run, slice_time_ref, unit, info : as in `from_nifti`
        stimuli : for ``design="trials"`` the stimulus_id of each map, or a DataFrame of samples
        repetition_time : seconds between samples (needed unless ``design="trials"``)
        rois : {name: {"left": ..., "right": ...}} or {name: (these, names)}: 0 and 1, integer
            labels, or label files (.label.gii)
        space : mesh, for instance "fsaverage5" or "fsLR_32k". None: from the file name, else from
            the number of vertices where only one template has it.

        Returns
        -------
        Responses
            float32 (n_samples, n_vertices), left before right. `units`: hemi, vertex,
            ``roi_*``. `info`: space, n_vertices, repetition_time [s], events.

        Raises
        ------
        AlignmentError
            Hemispheres swapped (by the structure in the file, or its name); another number
            of vertices than `space` has; unequal numbers of samples; events outside the run.
        InputError, ShapeError, CorruptFileError
            No repetition time, a mesh or labels in place of values, infinite values, a cut file.

        Examples
        --------
        >>> from brainalign.types import Responses
        >>> import numpy as np
        >>> values = np.random.default_rng(0).normal(size=(5, 642))
        >>> r = Responses.from_surface(values, values, repetition_time=2.0)
        >>> r.shape, r.info["space"], r.units.index[-1]
        ((5, 1284), 'fsaverage3', 'right_641')
        """
        from brainalign.types._surface import responses_of_surface

        return cls(
            **responses_of_surface(
                left,
                right,
                mask=mask,
                events=events,
                stimuli=stimuli,
                repetition_time=repetition_time,
                rois=rois,
                design=design,
                subject=subject,
                session=session,
                run=run,
                space=space,
                unit=unit,
                slice_time_ref=slice_time_ref,
                info=info,
            )
        )
