//! The grammar, flag by flag, against sudo.
