//! Links libgcc's unwinder into the privileged programs: loading the shared one costs each run 90 microseconds.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,--push-state,--whole-archive");
        println!("cargo:rustc-link-arg-bins=-l:libgcc_eh.a");
        println!("cargo:rustc-link-arg-bins=-Wl,--pop-state");
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
