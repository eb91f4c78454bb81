//! A file of lines that is appended to and bounded.
//!
//! A crash or a full disk can leave part of a line at the end of the file. The
//! next append begins a new line, so that the torn one costs no other; readers
//! skip what they cannot parse.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::DirectoryLock;
use super::directory;

/// Whether an append moved the file away first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    None,
    /// The file was full and is the old one now. The one that was old before is
    /// gone.
    Rotated,
}

/// Appends whole lines, and makes the file if there is none. Returns its size.
/// The lines survive the end of the process, and not a power loss.
///
/// The file is opened for each append, because it may have been moved away or
/// replaced.
pub(crate) fn append(path: &Path, lines: &[u8], _lock: &DirectoryLock) -> io::Result<u64> {
    let mut file = open(path)?;
    write(&mut file, lines)?;
    Ok(file.metadata()?.len())
}

/// Appends whole lines that survive a power loss.
///
/// A file that would grow beyond `bytes_max` becomes the old one, whose name ends
/// in `.1`. Processes may share the file: two that find it full must not both
/// move it away, so that this takes the lock of its directory.
pub(crate) fn append_rotated(path: &Path, lines: &[u8], bytes_max: u64) -> io::Result<Rotation> {
    let _lock = DirectoryLock::take(path)?;
    let mut rotation = Rotation::None;
    let existed = match fs::metadata(path) {
        Ok(found) if found.len() > 0 && found.len() + size(lines) > bytes_max => {
            fs::rename(path, old(path))?;
            rotation = Rotation::Rotated;
            false
        }
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    let mut file = open(path)?;
    write(&mut file, lines)?;
    file.sync_data()?;
    if !existed {
        directory::sync(path)?;
    }
    Ok(rotation)
}

/// Gives the file's room back, which needs none, unlike removing lines from it.
pub(crate) fn empty(path: &Path, _lock: &DirectoryLock) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

/// Reads the lines of the old file and of the current one, each with its line
/// break but for a torn one. At most `bytes_max` of either are read: what is not
/// a regular file, such as `/dev/full`, may never end.
pub(crate) fn read_rotated(
    path: &Path,
    bytes_max: u64,
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    for path in [&old(path), path] {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut lines = BufReader::new(file.take(bytes_max));
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            each(&line);
            line.clear();
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)
}

fn write(file: &mut File, lines: &[u8]) -> io::Result<()> {
    if ends_within_a_line(file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(lines)
}

fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn size(lines: &[u8]) -> u64 {
    u64::try_from(lines.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        let each = |line: &[u8]| lines.push(String::from_utf8(line.to_vec()).unwrap());
        read_rotated(path, u64::MAX, each).unwrap();
        lines
    }

    #[test]
    fn a_full_file_becomes_the_old_one_and_both_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.jsonl");
        let mut rotations = 0;
        for number in 0..30 {
            let line = format!("line {number:02}\n");
            let rotation = append_rotated(&path, line.as_bytes(), 100).unwrap();
            rotations += u32::from(rotation == Rotation::Rotated);
            assert!(fs::metadata(&path).unwrap().len() <= 100);
        }
        assert!(rotations > 1);
        let kept = lines(&path);
        let first = 30 - kept.len();
        let expected: Vec<String> = (first..30).map(|n| format!("line {n:02}\n")).collect();
        assert_eq!(kept, expected, "the newest, in their order");
    }

    #[test]
    fn a_line_after_a_torn_one_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.jsonl");
        fs::write(&path, "to").unwrap();
        append_rotated(&path, b"one\n", 100).unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap() + "rn").unwrap();
        let lock = DirectoryLock::take(&path).unwrap();
        assert_eq!(append(&path, b"two\n", &lock).unwrap(), 14);
        assert_eq!(lines(&path), ["to\n", "one\n", "rn\n", "two\n"]);
        empty(&path, &lock).unwrap();
        assert_eq!(append(&path, b"three\n", &lock).unwrap(), 6);
        assert_eq!(lines(&path), ["three\n"]);
    }
}
