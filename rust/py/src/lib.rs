//! NEO.
