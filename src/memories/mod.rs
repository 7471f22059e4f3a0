//! Where the domain meets the engine: processors, codecs, and the operators that topology files name.
