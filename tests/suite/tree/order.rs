//! In which order: start, stop, dependencies, paths.
