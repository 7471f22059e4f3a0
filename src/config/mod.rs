//! Typed settings, checked once: the topology file, the environment, the flags.
