//! Programs that use the library as other people would: see `examples/examples/`.
