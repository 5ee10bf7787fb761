use super::*;
use proptest::prelude::*;

fn masked(secrets: &[&str], pieces: &[&[u8]]) -> Vec<u8> {
    let mut masker = Masker::new(secrets.iter().copied()).unwrap();
    let mut out = Vec::new();
    for piece in pieces {
        masker.push(piece, &mut out);
    }
    masker.flush(&mut out);
    out
}

#[test]
fn secrets_are_found_across_borders() {
    type Case = (&'static [&'static str], &'static [&'static [u8]], &'static [u8]);
    let cases: [Case; 7] = [
        (&["hunter2"], &[b"a hunter2 b"], b"a *** b"),
        (&["hunter2"], &[b"hun", b"ter", b"2!"], b"***!"),
        (&["hunter2"], &[b"hunhunter2hunter"], b"hun***hunter"),
        (&["abc", "abcdef"], &[b"abc", b"def", b"abcx"], b"******x"),
        (&["abcd", "cdef"], &[b"ab", b"cd", b"ef"], b"***ef"),
        (&["line one\nline two"], &[b"> line two\n"], b"> ***\n"),
        (&["", "x\ny"], &[b"x", b"y"], b"xy"),
    ];
    for (secrets, pieces, expected) in cases {
        assert_eq!(masked(secrets, pieces), expected, "{secrets:?}");
    }
}

#[test]
fn what_cannot_become_a_secret_is_not_held_back() {
    let mut masker = Masker::new(["hunter2"]).unwrap();
    let mut out = Vec::new();
    masker.push(b"Continue? hun", &mut out);
    assert_eq!(out, b"Continue? ");
}

proptest! {
    #[test]
    fn how_it_is_cut_does_not_matter(
        secrets in prop::collection::vec("[ab]{2,6}", 0..4),
        text in "[abc]{0,60}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let bytes = text.as_bytes();
        let mut places: Vec<_> = cuts.iter().map(|it| it.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<_> = places.windows(2).map(|it| &bytes[it[0]..it[1]]).collect();
        let out = masked(&secrets, &pieces);
        prop_assert_eq!(&out, &masked(&secrets, &[bytes]));
        let out = String::from_utf8(out).unwrap();
        for secret in secrets {
            prop_assert!(!out.contains(secret), "{}: {}", secret, out);
        }
    }
}
