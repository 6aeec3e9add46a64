//! Databases of other schemas.
