//! Writes inputs to begin with into a folder.

fn main() {
    let folder = std::env::args().nth(1).expect("a folder");
    for (number, seed) in pillarbox::store::fuzz::seeds().into_iter().enumerate() {
        std::fs::write(format!("{folder}/seed-{number}"), seed).expect("a folder to write to");
    }
}
