//! A store is opened whose log says anything at all, with our checksums, and then rots.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        // Inputs to begin with, for whichever target; nothing else is done then.
        if let Some(folder) = std::env::var_os("SEEDS") {
            for (number, seed) in pillarbox::store::fuzz::seeds().into_iter().enumerate() {
                let file = std::path::Path::new(&folder).join(format!("seed-{number}"));
                std::fs::write(file, seed).expect("a folder to write to");
            }
            std::process::exit(0);
        }
    },
    |bytes: &[u8]| pillarbox::store::fuzz::open(bytes)
);
