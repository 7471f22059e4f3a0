//! The one place that puts the parts together: start and shutdown.
