//! Rows: what is written is read back, and nothing else is taken for a row.
