//! Who restarts with whom, and when a group gives up.
