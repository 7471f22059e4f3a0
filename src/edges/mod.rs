//! Thin edges, one technology each. They import `streams::ports` and domain values, never each other.
