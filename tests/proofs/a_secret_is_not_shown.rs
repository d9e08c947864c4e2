use sys::secret::Secret;

fn show(secret: Secret) {
    println!("{secret:?}");
    let _ = secret.clone();
}

fn main() {}
