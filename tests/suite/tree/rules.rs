//! When a group ends by itself: significance, intensity at the root, what is refused.
