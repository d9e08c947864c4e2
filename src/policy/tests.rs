//! Whole policies: what they mean, and what each mistake says.
