//! Makes archives byte by byte, and with them every attack there is a rule for.
use deploy_package::archive::Rule;
use flate2::{Compression, write::GzEncoder};
use std::io::Write as _;

const BLOCK: usize = 512;

/// Writes tar archives that no `tar` would write.
#[derive(Debug, Default)]
pub(crate) struct Maker {
    bytes: Vec<u8>,
}

impl Maker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn file(&mut self, path: &str, data: &[u8]) {
        self.entry(b'0', path.as_bytes(), b"", 0o644, data);
    }

    pub(crate) fn folder(&mut self, path: &str) {
        self.entry(b'5', path.as_bytes(), b"", 0o755, b"");
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.entry(b'2', path.as_bytes(), target.as_bytes(), 0o777, b"");
    }

    pub(crate) fn entry(&mut self, kind: u8, path: &[u8], target: &[u8], mode: u32, data: &[u8]) {
        let header = header(kind, path, target, mode, data.len() as u64);
        self.raw(&header);
        self.data(data);
    }

    /// A GNU header for a long name (`L`) or target (`K`).
    pub(crate) fn long(&mut self, kind: u8, name: &[u8]) {
        let name = [name, b"\0"].concat();
        self.entry(kind, b"././@LongLink", b"", 0o644, &name);
    }

    pub(crate) fn pax(&mut self, kind: u8, records: &[(&str, &[u8])]) {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let length = (1..=5)
                .map(|digits| body + digits)
                .find(|it| it.to_string().len() + body == *it)
                .unwrap();
            write!(data, "{length} {key}=").unwrap();
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(kind, b"PaxHeaders/x", b"", 0o644, &data);
    }

    pub(crate) fn data(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The archive before compression.
    pub(crate) fn tar(&self) -> Vec<u8> {
        [&self.bytes[..], &[0; 2 * BLOCK]].concat()
    }

    pub(crate) fn end(&self) -> Vec<u8> {
        gzip(&self.tar())
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn header(kind: u8, path: &[u8], target: &[u8], mode: u32, size: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let path = &path[..path.len().min(100)];
    let target = &target[..target.len().min(100)];
    header[..path.len()].copy_from_slice(path);
    header[157..157 + target.len()].copy_from_slice(target);
    header[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar  \0");
    checksum(&mut header);
    header
}

fn checksum(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Makes the checksum of every header right again that was one.
pub(crate) fn fix_checksums(tar: &mut [u8]) {
    for block in tar.chunks_mut(BLOCK) {
        if block.len() == BLOCK && block[148..156].iter().any(|b| *b != 0) {
            checksum(block);
        }
    }
}

/// An archive that must be refused, and the rule it breaks.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
    pub(crate) bytes: Vec<u8>,
    /// The entries alone, where they are all of the attack.
    pub(crate) entries: Vec<u8>,
}

fn by_entries(name: &'static str, rule: Rule, make: impl FnOnce(&mut Maker)) -> Attack {
    let mut maker = Maker::new();
    make(&mut maker);
    Attack { name, rule, bytes: maker.end(), entries: maker.bytes }
}

fn by_bytes(name: &'static str, rule: Rule, bytes: Vec<u8>) -> Attack {
    Attack { name, rule, bytes, entries: Vec::new() }
}

pub(crate) fn all() -> Vec<Attack> {
    let mut all = paths();
    all.extend(links());
    all.extend(kinds_and_modes());
    all.extend(headers());
    all.extend(streams());
    all
}

fn paths() -> Vec<Attack> {
    let one = |name, rule, path: &[u8]| {
        by_entries(name, rule, |it| it.entry(b'0', path, b"", 0o644, b"x"))
    };
    let long = |name, rule, path: String| {
        by_entries(name, rule, move |it| {
            it.long(b'L', path.as_bytes());
            it.file("short", b"x");
        })
    };
    vec![
        one("up", Rule::Escape, b"../victim"),
        one("up in the middle", Rule::Escape, b"a/../../victim"),
        one("up that stays inside", Rule::Escape, b"a/../b"),
        one("up at the end", Rule::Escape, b"a/.."),
        one("absolute", Rule::AbsolutePath, b"/etc/passwd"),
        one("absolute, twice", Rule::AbsolutePath, b"//etc/passwd"),
        one("a line break", Rule::Name, b"a\nb"),
        one("an escape sequence", Rule::Name, b"a\x1b[2Jb"),
        one("a C1 control", Rule::Name, "a\u{9b}b".as_bytes()),
        one("not UTF-8", Rule::Name, b"a\xffb"),
        one("no name", Rule::Name, b""),
        one("the top itself as a file", Rule::Header, b"./"),
        by_entries("an absolute folder", Rule::AbsolutePath, |it| it.folder("/")),
        long("a long way up", Rule::Escape, format!("{}/../../x", "a".repeat(120))),
        long("a path too long", Rule::PathTooLong, "abcdefg/".repeat(150) + "x"),
        long("a path too deep", Rule::PathTooLong, "a/".repeat(33) + "x"),
        long("a name too long", Rule::PathTooLong, "n".repeat(256)),
        by_entries("a NUL inside a long name", Rule::Name, |it| {
            it.long(b'L', b"fine\0/../../x");
            it.file("short", b"x");
        }),
        by_entries("twice", Rule::Duplicate, |it| {
            it.file("a", b"1");
            it.file("a", b"2");
        }),
        by_entries("twice in other words", Rule::Duplicate, |it| {
            it.file("d/a", b"1");
            it.file("./d//a", b"2");
        }),
        by_entries("a folder twice", Rule::Duplicate, |it| {
            it.folder("a/");
            it.folder("a");
        }),
        by_entries("a file that becomes a folder", Rule::Duplicate, |it| {
            it.file("a", b"1");
            it.file("a/b", b"2");
        }),
        by_entries("a folder that becomes a file", Rule::Duplicate, |it| {
            it.file("a/b", b"1");
            it.file("a", b"2");
        }),
    ]
}

fn links() -> Vec<Attack> {
    let soft = |name, rule, path: &'static str, target: &'static str| {
        by_entries(name, rule, |it| it.link(path, target))
    };
    let hard = |name, rule, target: &'static [u8]| {
        by_entries(name, rule, |it| it.entry(b'1', b"h", target, 0o644, b""))
    };
    vec![
        soft("a link out", Rule::Escape, "l", "../victim"),
        soft("a link out of a folder", Rule::Escape, "d/l", "../../victim"),
        soft("an absolute link", Rule::SymbolicLink, "l", "/etc/shadow"),
        soft("a link to the root", Rule::SymbolicLink, "l", "/"),
        soft("up after a name", Rule::SymbolicLink, "d/l", "x/../../.."),
        soft("up after a name, staying inside", Rule::SymbolicLink, "d/e/l", "x/../y"),
        soft("a link to nothing", Rule::Name, "l", ""),
        soft("a control character in a target", Rule::Name, "l", "a\rb"),
        by_entries("through a link", Rule::Duplicate, |it| {
            it.link("l", "d");
            it.file("l/secret", b"x");
        }),
        by_entries("a link chain that climbs", Rule::SymbolicLink, |it| {
            it.folder("d/e");
            it.link("d/e/up", "../..");
            it.link("out", "d/e/up/../..");
        }),
        by_entries("a folder over a link (CVE-2026-33056)", Rule::Duplicate, |it| {
            it.link("l", "d");
            it.folder("l");
        }),
        by_entries("a file over a link", Rule::Duplicate, |it| {
            it.link("l", "d");
            it.file("l", b"x");
        }),
        by_entries("a long target out", Rule::Escape, |it| {
            it.long(b'K', format!("../{}", "t/".repeat(100)).as_bytes());
            it.link("l", "short");
        }),
        hard("a hard link out", Rule::Escape, b"../victim"),
        hard("an absolute hard link", Rule::AbsolutePath, b"/etc/shadow"),
        hard("a hard link to nothing", Rule::HardLink, b"nothing"),
        hard("a hard link to itself", Rule::HardLink, b"h"),
        by_entries("a hard link to a link", Rule::HardLink, |it| {
            it.link("l", "d");
            it.entry(b'1', b"h", b"l", 0o644, b"");
        }),
        by_entries("a hard link to a folder", Rule::HardLink, |it| {
            it.folder("d");
            it.entry(b'1', b"h", b"d", 0o644, b"");
        }),
        by_entries("a hard link to a later file", Rule::HardLink, |it| {
            it.entry(b'1', b"h", b"f", 0o644, b"");
            it.file("f", b"x");
        }),
    ]
}

fn kinds_and_modes() -> Vec<Attack> {
    let kind =
        |name, rule, kind: u8| by_entries(name, rule, |it| it.entry(kind, b"x", b"", 0o644, b""));
    let mode = |name, kind: u8, mode: u32| {
        by_entries(name, Rule::Mode, |it| it.entry(kind, b"x", b"", mode, b""))
    };
    vec![
        kind("a character device", Rule::Type, b'3'),
        kind("a block device", Rule::Type, b'4'),
        kind("a named pipe", Rule::Type, b'6'),
        kind("a contiguous file", Rule::Type, b'7'),
        kind("a sparse file", Rule::Type, b'S'),
        kind("a volume label", Rule::Type, b'V'),
        kind("a part of a volume", Rule::Type, b'M'),
        kind("a dump of names", Rule::Type, b'D'),
        kind("a Solaris header", Rule::Type, b'X'),
        kind("a type nobody knows", Rule::Type, 0xff),
        mode("setuid", b'0', 0o4755),
        mode("setgid", b'0', 0o2755),
        mode("sticky", b'5', 0o1777),
        mode("a file nobody reads", b'0', 0o000),
        mode("a folder that locks its owner out", b'5', 0o555),
    ]
}

fn headers() -> Vec<Attack> {
    let changed = |name, rule, change: fn(&mut [u8; BLOCK])| {
        by_entries(name, rule, |it| {
            let mut header = header(b'0', b"x", b"", 0o644, 0);
            change(&mut header);
            checksum(&mut header);
            it.raw(&header);
        })
    };
    let pax = |name, rule, records: &'static [(&'static str, &'static [u8])]| {
        by_entries(name, rule, |it| {
            it.pax(b'x', records);
            it.file("x", b"12345");
        })
    };
    vec![
        changed("a prefix in a GNU header", Rule::Header, |it| {
            it[345..351].copy_from_slice(b"../../");
        }),
        changed("a prefix in a header of another version", Rule::Header, |it| {
            it[257..265].copy_from_slice(b"ustar\x0099");
            it[345] = b'p';
        }),
        changed("a way up in a POSIX prefix", Rule::Escape, |it| {
            it[257..265].copy_from_slice(b"ustar\x0000");
            it[345..347].copy_from_slice(b"..");
        }),
        changed("a size that is no number", Rule::Header, |it| {
            it[124..128].copy_from_slice(b"zzzz");
        }),
        changed("a negative size", Rule::Header, |it| it[124..136].fill(0xff)),
        changed("no size", Rule::Header, |it| it[124..136].fill(0)),
        changed("no owner", Rule::Header, |it| it[108..116].fill(0)),
        changed("a time that is no number", Rule::Header, |it| it[140] = b'x'),
        changed("a header of no format", Rule::Header, |it| it[257..265].fill(0)),
        changed("a type that is not said", Rule::Header, |it| it[156] = 0),
        changed("a device number that is none", Rule::Header, |it| it[329] = b'x'),
        changed("permissions that are no number", Rule::Header, |it| it[100] = b'-'),
        changed("a size near 2^64", Rule::TooLarge, |it| {
            it[124..136].fill(0xff);
            it[124] = 0x80;
            it[125..128].fill(0);
        }),
        by_entries("a folder with bytes", Rule::SizeMismatch, |it| {
            it.entry(b'5', b"d", b"", 0o755, b"data");
        }),
        by_entries("a link with bytes", Rule::SizeMismatch, |it| {
            it.entry(b'2', b"l", b"d", 0o777, b"data");
        }),
        by_entries("a file named like a folder", Rule::Header, |it| it.file("d/", b"")),
        pax(
            "another size in a PAX record (CVE-2026-33055)",
            Rule::SizeMismatch,
            &[("size", b"512")],
        ),
        pax("another path in a PAX record", Rule::Header, &[("path", b"y")]),
        pax("a way up in a PAX record", Rule::Header, &[("path", b"../y")]),
        pax("a target in a PAX record", Rule::Header, &[("linkpath", b"/etc")]),
        pax("a record twice", Rule::Header, &[("path", b"x"), ("path", b"x")]),
        pax("a sparse map in PAX records", Rule::Header, &[("GNU.sparse.major", b"1")]),
        pax("extended attributes", Rule::Header, &[("SCHILY.xattr.security.capability", b"\x01")]),
        pax("another charset", Rule::Header, &[("hdrcharset", b"BINARY")]),
        pax("a size that is no number", Rule::Header, &[("size", b"-1")]),
        by_entries("a PAX record that is cut", Rule::Header, |it| {
            it.entry(b'x', b"p", b"", 0o644, b"99 path=x\n");
            it.file("x", b"");
        }),
        by_entries("a path for all that follows", Rule::Header, |it| {
            it.pax(b'g', &[("path", b"y")]);
            it.file("x", b"");
        }),
        by_entries("two long names", Rule::Header, |it| {
            it.long(b'L', b"a");
            it.long(b'L', b"b");
            it.file("x", b"");
        }),
        by_entries("a long name without end", Rule::Header, |it| {
            it.entry(b'L', b"././@LongLink", b"", 0o644, &[b'a'; 100_000]);
            it.file("x", b"");
        }),
    ]
}

fn streams() -> Vec<Attack> {
    let mut maker = Maker::new();
    maker.file("x", b"hello");
    let (tar, fine) = (maker.tar(), maker.end());
    let mut wrong_sum = tar.clone();
    wrong_sum[0] = b'y';
    let mut lone_zero = tar.clone();
    lone_zero.truncate(2 * BLOCK);
    lone_zero.extend([0; BLOCK]);
    let after_lone_zero = [&lone_zero[..], &tar[..]].concat();
    let mut dangling = Maker::new();
    dangling.long(b'L', b"a");
    let mut damaged = fine.clone();
    let at = damaged.len() - 8;
    damaged[at] ^= 1;
    vec![
        by_bytes("nothing", Rule::Truncated, Vec::new()),
        by_bytes("a zip file", Rule::Encoding, b"PK\x03\x04 and so on, for a while".to_vec()),
        by_bytes("a tar that is cut", Rule::Truncated, tar[..2 * BLOCK].to_vec()),
        by_bytes("a wrong checksum", Rule::NotTar, gzip(&wrong_sum)),
        by_bytes("text", Rule::NotTar, gzip(&[b'a'; 2_000])),
        by_bytes("no end mark", Rule::Truncated, gzip(&tar[..2 * BLOCK])),
        by_bytes("half an end mark", Rule::Truncated, gzip(&lone_zero)),
        by_bytes("entries behind half an end mark", Rule::TrailingData, gzip(&after_lone_zero)),
        by_bytes(
            "an archive behind the archive",
            Rule::TrailingData,
            gzip(&[&tar[..], &tar[..]].concat()),
        ),
        by_bytes("a second gzip stream", Rule::TrailingData, [&fine[..], &fine[..]].concat()),
        by_bytes("bytes behind the gzip stream", Rule::TrailingData, [&fine[..], b"\0"].concat()),
        by_bytes("a gzip stream that is cut", Rule::Truncated, fine[..fine.len() - 5].to_vec()),
        by_bytes("a gzip checksum that is wrong", Rule::NotGzip, damaged),
        by_bytes("a name for nothing", Rule::NotTar, dangling.end()),
    ]
}
