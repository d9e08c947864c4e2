use std::ffi::CStr;

use sys::exec::Image;

fn image(typed: &CStr) -> Image<'_> {
    Image::Path(typed)
}

fn main() {}
