"""An expansion whose rows are made by Dask's workers, into one file on a disk that all share."""
