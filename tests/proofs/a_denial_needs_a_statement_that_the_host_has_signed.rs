use jit_core::grant::{SignedStatement, StatementTerms};

fn forge(terms: StatementTerms) -> SignedStatement {
    SignedStatement { terms, bytes: Vec::new(), uid: 0, host_signature: Vec::new(), personal: None }
}

fn main() {}
