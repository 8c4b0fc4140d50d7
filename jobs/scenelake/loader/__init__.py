"""The loader: a pinned release as batches for training, straight from the lake.

Takes a ``reading.LoaderReader`` (``adapters.release_reader.open_release``) and a ``config.LoaderConfig``; gives
batches of NumPy arrays (``batches.SceneBatches``), and as torch datasets ``torch_dataset.SceneDataset`` (map) and
``SceneStream`` (iterable). torch and tokenizers are imported when they are used; nothing else here needs them.

Guarantees: each window of the chosen scenes comes exactly once per epoch over all ranks and workers; what comes, in
which order and with which augmentation follows from release, configuration, seed and epoch alone, and not from the
number of workers; an epoch continues where it was left, with another number of workers too; memory grows with a
block of windows, not with the release. A padded or missing row is marked in a mask, never made up.
"""
