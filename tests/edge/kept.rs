//! What the fuzzer has kept (`cargo xtask fuzz`): every input again, on every target.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

#[test]
fn kept_inputs_hold() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for target in targets::ALL {
        let folder = corpus.join(target.name);
        let files = fs::read_dir(&folder).expect("every target has a kept corpus");
        let mut count = 0;
        for file in files {
            let path = file.expect("a folder can be read").path();
            eprintln!("{}", path.display());
            (target.run)(&fs::read(&path).expect("a file"));
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
        assert!(targets::find(target.name).is_some());
    }
}
