//! The interpreters of a program, which the kernel executes in its place or before it: for a script the program named in
//! its first line (execve(2), "Interpreter scripts"), for an ELF file its loader (elf(5), `PT_INTERP`).

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::trusted::{TrustError, changed_by_none_but};

/// How many bytes of the first line the kernel reads (BINPRM_BUF_SIZE).
const LINE: usize = 256;

/// The maximum length of a chain of interpreters: the kernel follows at most five scripts, and then a loader.
const DEPTH: usize = 7;

/// The maximum size of a table of program headers that the kernel reads, in bytes.
const LARGEST_TABLE: usize = 1 << 16;

/// The maximum length of a loader's name, with its NUL (PATH_MAX).
const LONGEST_NAME: u64 = 4096;

/// The type of the program header that names a loader.
const PT_INTERP: u64 = 3;

/// Checks that only root and `user` can change which interpreter the opened program has: the one that it names, the one
/// that that one names, and so on. A file that names none has no interpreter, or is a script for a shell.
///
/// # Errors
/// Names the file, directory or link that another user can change; also fails for an ELF file whose headers cannot be
/// read, and for a chain that is too long.
pub fn check(program: &File, user: u32) -> Result<(), TrustError> {
    let mut named = interpreters(program, Path::new("the program"))?;
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for path in &named {
            // Who can change the loader of this program is root already, and a loader has none itself.
            if own_loader().is_some_and(|own| path.as_os_str().as_bytes() == own.to_bytes()) {
                continue;
            }
            let at = changed_by_none_but(path, user)?;
            let file = File::open(&at).map_err(|error| TrustError::Io { path: at.clone(), error })?;
            next.extend(interpreters(&file, &at)?);
        }
        named = next;
    }
    match named.into_iter().next() {
        None => Ok(()),
        Some(path) => Err(TrustError::Io { path, error: io::Error::from_raw_os_error(libc::ELOOP) }),
    }
}

#[cfg(target_pointer_width = "64")]
type ProgramHeader = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "32")]
type ProgramHeader = libc::Elf32_Phdr;

/// Returns the name of the loader that the kernel has executed before this program: from its headers in memory, whose address the
/// kernel gives to every program (getauxval(3)). `None` in a program that is linked statically.
fn own_loader() -> Option<&'static CStr> {
    // SAFETY: reads two numbers.
    let (at, count) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    let at = usize::try_from(at).ok().filter(|at| *at != 0)?;
    // SAFETY: the kernel has mapped that many headers there, and neither it nor the loader changes them.
    let headers = unsafe {
        let first: *const ProgramHeader = std::ptr::with_exposed_provenance(at);
        std::slice::from_raw_parts(first, usize::try_from(count).ok()?)
    };
    let address = |kind| {
        let header = headers.iter().find(|header| header.p_type == kind)?;
        usize::try_from(header.p_vaddr).ok()
    };
    let moved = at.wrapping_sub(address(libc::PT_PHDR)?);
    let name = std::ptr::with_exposed_provenance(moved.wrapping_add(address(libc::PT_INTERP)?));
    // SAFETY: the kernel has read the name there and its NUL before it started the program.
    Some(unsafe { CStr::from_ptr(name) })
}

fn interpreters(file: &File, path: &Path) -> Result<Vec<PathBuf>, TrustError> {
    let read = || {
        let mut line = [0; LINE];
        let length = read_up_to(file, &mut line, 0)?;
        let start = line.get(..length).unwrap_or_default();
        if start.starts_with(b"\x7fELF") { loaders(file, start) } else { Ok(named_in(start).into_iter().collect()) }
    };
    read().map_err(|error| TrustError::Io { path: path.to_owned(), error })
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its ELF headers are damaged")
}

/// Returns the names in the `PT_INTERP` headers of an ELF file; `start` is the beginning of the file. A file for another machine may
/// have an interpreter here, which reads its headers by their class and byte order. The kernel knows both from the machine, whatever
/// the file says, so the names that the headers have in other layouts are returned too. Ignored is only what no kernel executes in
/// such a layout.
fn loaders(file: &File, start: &[u8]) -> io::Result<Vec<PathBuf>> {
    let own = Layout::of(start).ok_or_else(damaged)?;
    let mut named = Vec::new();
    for layout in Layout::ALL {
        let name = match loader_headers(file, start, layout)?.as_deref() {
            Some([]) => continue,
            Some([header]) => loader_name(file, layout, header)?,
            // If there are two, each reader decides which one counts.
            Some(_) => return Err(damaged()),
            None => None,
        };
        match name {
            Some(name) if named.contains(&name) => {}
            Some(name) => named.push(name),
            None if layout == own => return Err(damaged()),
            None => {}
        }
    }
    Ok(named)
}

/// Returns the `PT_INTERP` headers that a file has in this layout; `None` if its program headers cannot be read in it.
fn loader_headers(file: &File, start: &[u8], layout: Layout) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some((table, entry, count)) = layout.table(start) else { return Ok(None) };
    let Some(length) = entry.checked_mul(count).filter(|length| *length <= LARGEST_TABLE) else { return Ok(None) };
    let mut headers = vec![0; length];
    if read_up_to(file, &mut headers, table)? < length {
        return Ok(None);
    }
    let loaders = headers.chunks_exact(entry).filter(|header| layout.number(header, 0, 4) == Some(PT_INTERP));
    Ok(Some(loaders.map(<[u8]>::to_vec).collect()))
}

/// Returns the name in a `PT_INTERP` header; `None` if it is one with which no kernel executes the file.
fn loader_name(file: &File, layout: Layout, header: &[u8]) -> io::Result<Option<PathBuf>> {
    let Some((offset, size)) = layout.segment(header).filter(|(_, size)| *size <= LONGEST_NAME) else {
        return Ok(None);
    };
    let mut name = vec![0; usize::try_from(size).map_err(|_| damaged())?];
    if read_up_to(file, &mut name, offset)? < name.len() || name.last() != Some(&0) {
        return Ok(None);
    }
    let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty());
    Ok(name.map(|name| PathBuf::from(OsStr::from_bytes(name))))
}

/// Reads at this offset until the buffer is full or the file ends, and returns the length.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let further = u64::try_from(filled).ok().and_then(|filled| offset.checked_add(filled));
        // Beyond the maximum offset of a file there is nothing to read.
        let Some(place) = further.filter(|place| i64::try_from(*place).is_ok()) else { break };
        match file.read_at(rest, place) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The class and byte order of an ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    is_64_bit: bool,
    is_big_endian: bool,
}

impl Layout {
    const ALL: [Self; 4] = [
        Self { is_64_bit: false, is_big_endian: false },
        Self { is_64_bit: false, is_big_endian: true },
        Self { is_64_bit: true, is_big_endian: false },
        Self { is_64_bit: true, is_big_endian: true },
    ];

    fn of(start: &[u8]) -> Option<Self> {
        let (class, order) = (start.get(4)?, start.get(5)?);
        let is_known = matches!(class, 1 | 2) && matches!(order, 1 | 2);
        is_known.then_some(Self { is_64_bit: *class == 2, is_big_endian: *order == 2 })
    }

    /// Returns the offset of the program headers, the size of each, and their number.
    fn table(self, start: &[u8]) -> Option<(u64, usize, usize)> {
        let (offset, width, entry, count) = if self.is_64_bit { (32, 8, 54, 56) } else { (28, 4, 42, 44) };
        let number = |place| usize::try_from(self.number(start, place, 2)?).ok();
        let (entry, count) = (number(entry)?, number(count)?);
        let expected = if self.is_64_bit { 56 } else { 32 };
        (entry == expected).then_some((self.number(start, offset, width)?, entry, count))
    }

    /// Returns the offset of a segment in the file, and its size.
    fn segment(self, header: &[u8]) -> Option<(u64, u64)> {
        let (offset, size, width) = if self.is_64_bit { (8, 32, 8) } else { (4, 16, 4) };
        Some((self.number(header, offset, width)?, self.number(header, size, width)?))
    }

    fn number(self, bytes: &[u8], place: usize, width: usize) -> Option<u64> {
        let bytes = bytes.get(place..place.checked_add(width)?)?;
        let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.is_big_endian { bytes.iter().fold(0, append) } else { bytes.iter().rev().fold(0, append) })
    }
}

/// Returns the interpreter that a `#!` line names.
pub(crate) fn named_in(start: &[u8]) -> Option<PathBuf> {
    let line = start.strip_prefix(b"#!")?.split(|byte| matches!(byte, b'\n' | 0)).next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.next().map(|word| PathBuf::from(OsStr::from_bytes(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_word_of_the_first_line_is_the_interpreter() {
        for (line, interpreter) in [
            ("#!/bin/sh -e\nx", Some("/bin/sh")),
            ("#! \t/usr/bin/env python3", Some("/usr/bin/env")),
            ("#!interp\n", Some("interp")),
            ("#!\n/bin/sh", None),
            ("#! \n", None),
            ("echo", None),
            ("", None),
            (" #!/bin/sh", None),
        ] {
            assert_eq!(named_in(line.as_bytes()), interpreter.map(PathBuf::from), "{line:?}");
        }
    }

    #[test]
    fn the_own_loader_is_the_one_in_the_file_of_this_program() {
        let own = File::open("/proc/self/exe").unwrap();
        let named = interpreters(&own, Path::new("/proc/self/exe")).unwrap();
        assert_eq!(named, [PathBuf::from(OsStr::from_bytes(own_loader().unwrap().to_bytes()))]);
    }

    #[test]
    fn an_untrusted_interpreter_is_found_at_any_depth() {
        let place = PathBuf::from(format!("/var/lib/jit-sudo-interpreter-{}", std::process::id()));
        std::fs::create_dir(&place).unwrap();
        let write = |name: &str, text: &str, owner: u32| {
            let path = place.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
            path
        };
        let theirs = write("theirs", "#!/bin/sh\n", 4242);
        let between = write("between", &format!("#!{}\n", theirs.display()), 0);
        let judged = |text: String, user| check(&File::open(write("script", &text, 0)).unwrap(), user);
        for interpreter in [&theirs, &between] {
            let text = format!("#!{} -x\n", interpreter.display());
            let error = judged(text.clone(), 0).unwrap_err().to_string();
            assert!(error.contains("theirs") && error.contains("4242"), "{error}");
            assert!(judged(text.clone(), 4242).is_ok(), "the run-as user's own");
            assert!(judged(text, 4243).is_err());
        }
        assert!(judged("#!/bin/sh\n".to_owned(), 0).is_ok() && judged("echo\n".to_owned(), 0).is_ok());
        assert!(judged("#!sh\n".to_owned(), 0).is_err(), "it would be looked up where the caller is");
        std::fs::remove_dir_all(place).unwrap();
    }

    /// Returns an ELF file that consists of headers only; the last one names this loader.
    fn elf(class: u8, order: u8, loader: &str) -> Vec<u8> {
        let (header, entry, width) = if class == 2 { (64, 56, 8) } else { (52, 32, 4) };
        let number = |value: usize, width: usize| {
            let mut bytes = (value as u64).to_le_bytes()[..width].to_vec();
            if order == 2 {
                bytes.reverse();
            }
            bytes
        };
        let mut file = vec![0; header + 2 * entry];
        let mut put = |place: usize, bytes: &[u8]| file[place..place + bytes.len()].copy_from_slice(bytes);
        put(0, &[0x7f, b'E', b'L', b'F', class, order, 1]);
        let (offset, size, count) = if class == 2 { (32, 54, 56) } else { (28, 42, 44) };
        put(offset, &number(header, width));
        put(size, &number(entry, 2));
        put(count, &number(2, 2));
        put(header, &number(1, 4));
        let last = header + entry;
        let (offset, size) = if class == 2 { (8, 32) } else { (4, 16) };
        put(last, &number(3, 4));
        put(last + offset, &number(header + 2 * entry, width));
        put(last + size, &number(loader.len() + 1, width));
        file.extend_from_slice(loader.as_bytes());
        file.push(0);
        file
    }

    fn opened(name: &str, bytes: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("jit-sudo-elf-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn the_loader_of_an_elf_file_is_its_interpreter() {
        let found =
            |bytes: &[u8]| interpreters(&opened("whole", bytes), Path::new("x")).map_err(|error| error.to_string());
        for (class, order) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let file = elf(class, order, "/lib/ld.so");
            assert_eq!(found(&file), Ok(vec![PathBuf::from("/lib/ld.so")]), "{class} {order}");
            let header = if class == 2 { 64 } else { 52 };
            // A program without a loader.
            let mut alone = file.clone();
            let last = header + if class == 2 { 56 } else { 32 };
            alone[last..last + 4].fill(0);
            assert_eq!(found(&alone), Ok(Vec::new()));
            // Two loaders; a name that does not end, one that is longer than the file, an empty one.
            let mut two = file.clone();
            let copied = two[last..last * 2 - header].to_vec();
            two[header..last].copy_from_slice(&copied);
            let mut endless = file.clone();
            *endless.last_mut().unwrap() = b'x';
            for damaged in [two, endless, file[..file.len() - 1].to_vec(), elf(class, order, "")] {
                assert!(found(&damaged).unwrap_err().contains("damaged"));
            }
        }
        let own = std::fs::read("/proc/self/exe").unwrap();
        let loader = found(&own).unwrap();
        assert!(loader.iter().all(|loader| loader.is_absolute() && loader.exists()));
        assert!(check(&File::open("/bin/sh").unwrap(), 0).is_ok());
    }

    #[test]
    fn the_loader_is_found_whatever_class_and_byte_order_the_file_claims() {
        let found = |bytes: &[u8]| interpreters(&opened("claimed", bytes), Path::new("x"));
        for (class, claimed, place, size) in [(2, 1, 42, 32_u16), (1, 2, 54, 56)] {
            for order in [1, 2] {
                let mut file = elf(class, order, "/tmp/theirs");
                file[4] = claimed;
                // In the claimed class there are no headers, each of the right size.
                let size = if order == 1 { size.to_le_bytes() } else { size.to_be_bytes() };
                file[place..place + 4].copy_from_slice(&[size[0], size[1], 0, 0]);
                assert_eq!(found(&file).unwrap(), [PathBuf::from("/tmp/theirs")], "{class} {order}");
                file[5] = 3 - order;
                assert!(found(&file).is_err(), "no size fits both byte orders");
            }
        }
    }

    #[test]
    fn two_loaders_are_refused_in_every_layout() {
        let found = |bytes: &[u8]| interpreters(&opened("twice", bytes), Path::new("x"));
        // A 64-bit file whose byte of the class says 32 bits, and the other way round: the kernel knows the class from the machine.
        for (class, claimed, place, size) in [(2, 1, 42, 32_u8), (1, 2, 54, 56)] {
            let (header, offset, size_at, table) = if class == 2 { (64, 8, 32, 32) } else { (52, 4, 16, 28) };
            for second in ["/tmp/theirs", "/lib/ld.so"] {
                let mut file = elf(class, 1, "/tmp/theirs");
                let entry = (file.len() - header - "/tmp/theirs".len() - 1) / 2;
                let loader = file[header + entry..header + 2 * entry].to_vec();
                let name = u8::try_from(file.len()).unwrap();
                file.extend_from_slice(second.as_bytes());
                file.push(0);
                file[table] = u8::try_from(file.len()).unwrap();
                file.extend_from_slice(&loader);
                let other = file.len();
                file.extend_from_slice(&loader);
                file[other + offset] = name;
                file[other + size_at] = u8::try_from(second.len() + 1).unwrap();
                assert!(found(&file).is_err(), "{class}, as it is");
                // The claimed class has no headers, each of the right size.
                file[4] = claimed;
                file[place..place + 4].copy_from_slice(&[size, 0, 0, 0]);
                assert!(found(&file).is_err(), "{class} claimed as {claimed}: {:?}", found(&file));
                file[5] = 2;
                file[place..place + 2].copy_from_slice(&[0, size]);
                assert!(
                    found(&file).is_err(),
                    "{class} claimed as {claimed} in the other byte order: {:?}",
                    found(&file)
                );
            }
        }
    }

    #[test]
    fn damaged_headers_are_read_in_bounded_time() {
        let theirs = "/tmp/theirs";
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below as u64).unwrap()
        };
        for (class, order) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let whole = elf(class, order, theirs);
            for round in 0..2_000 {
                let mut file = whole.clone();
                for _ in 0..=random(4) {
                    let place = random(file.len());
                    file[place] = [0, 1, 0x7f, 0x80, 0xff, u8::try_from(random(256)).unwrap()][random(6)];
                }
                if round % 3 == 0 {
                    file.truncate(random(whole.len() + 1));
                }
                // Any answer is right, but it must come in bounded time.
                let _ = interpreters(&opened("damaged", &file), Path::new("x"));
            }
            // The largest numbers in every field.
            for place in 4..whole.len() {
                let mut file = whole.clone();
                let end = file.len().min(place + 8);
                file[place..end].fill(0xff);
                let _ = interpreters(&opened("largest", &file), Path::new("x"));
            }
        }
    }
}
