//! `hrmc devices`, here and beside a driver that is made for the test.

use std::path::PathBuf;
use std::process::Command;

use hrmc_testing::workplace::{Said, TINY, Workplace};

use crate::HRMC;

/// The functions of a driver that hrmc calls, with the results in macros.
const DRIVER: &str = r#"
#include <string.h>
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7 + ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Abacus 9000", length); return 0; }
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 80ul << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : 0; return device < 7; }
int cuGetErrorString(int error, const char **text) { *text = "the beads are stuck"; return 0; }
"#;

/// A library for kernels.
const NVRTC: &str = "int nvrtcVersion(int *major, int *minor) { *major = 12; *minor = 8; return 0; }";

/// A library of products that lacks everything.
const EMPTY: &str = "int nothing;";

/// Compiles a library into the folder; returns `None` and says so if there is no C compiler.
fn library(place: &Workplace, name: &str, text: &str, flags: &[&str]) -> Option<PathBuf> {
    place.write("library.c", text);
    let out = place.path(name);
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-w", "-o"])
        .arg(&out)
        .arg(place.path("library.c"))
        .args(flags)
        .status();
    match status {
        Ok(status) => {
            assert!(status.success(), "the library is right");
            Some(out)
        }
        Err(_) => {
            eprintln!("skipped: there is no C compiler `cc` to make a driver with");
            None
        }
    }
}

/// Runs a command where only the libraries of the folder are found.
fn run(place: &Workplace, arguments: &str, environment: &[(&str, &str)]) -> Said {
    let mut command = place.command(arguments);
    command
        .env("LD_LIBRARY_PATH", place.path(""))
        .env_remove("CUDA_PATH")
        .env_remove("CUDA_VISIBLE_DEVICES")
        .env("CUDA_HOME", place.path("toolkit"))
        .envs(environment.iter().copied());
    Said::of(command.output().expect("the binary runs"))
}

/// Runs `hrmc devices` where only the libraries of the folder are found.
fn devices(place: &Workplace, arguments: &str) -> String {
    let said = run(place, &format!("devices {arguments}"), &[]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", said.out);
    said.out
}

/// Makes a driver of some version, where it can be made.
fn driver(version: u32, init: u32, count: u32) -> Option<Workplace> {
    let place = Workplace::new(HRMC);
    let flags = [format!("-DVERSION={version}"), format!("-DINIT={init}"), format!("-DCOUNT={count}")];
    library(&place, "libcuda.so.1", DRIVER, &flags.each_ref().map(String::as_str))?;
    Some(place)
}

/// Returns what is said with a driver of some version, where it can be made.
fn with_driver(version: u32, init: u32, count: u32) -> Option<String> {
    driver(version, init, count).map(|place| devices(&place, ""))
}

#[test]
fn what_runs_is_listed_and_cuda_is_said_not_to_where_it_cannot() {
    let text = devices(&Workplace::new(HRMC), "");
    let begins: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(begins[..3], ["cpu", "reference", "cuda"], "{text}");
    let missing = text.contains("not found");
    assert_eq!(text.contains("cuda         cannot run here; see below\n"), missing, "{text}");
}

#[test]
fn missing_libraries_are_said_with_where_they_were_looked_for() {
    let place = Workplace::new(HRMC);
    let text = devices(&place, "");
    let json: serde_json::Value = serde_json::from_str(&devices(&place, "--json")).expect("it is JSON");
    assert_eq!(json["cpu"]["runs"], true);
    assert_eq!(json["cuda"]["runs"], false);
    // A machine with a driver or a toolkit has less to say.
    if json["cuda"]["driver"]["version"].is_null() {
        let no_driver = "the NVIDIA driver was not found; looked for `libcuda.so.1`, `libcuda.so`";
        assert!(text.contains(no_driver), "{text}");
        assert_eq!(json["cuda"]["driver"]["problem"], no_driver);
        assert_eq!(json["cuda"]["devices"], serde_json::json!([]));
    }
    if json["cuda"]["nvrtc"]["problem"] == "not found" {
        let folder = place.path("toolkit/lib64/libnvrtc.so.12");
        let looked = "NVRTC: not found; looked for `libnvrtc.so.13`, `libnvrtc.so.12`, `libnvrtc.so`, `";
        assert!(text.contains(looked) && text.contains(&folder.display().to_string()), "{text}");
    }
}

#[test]
fn a_driver_that_is_too_old_is_said_to_be() {
    let Some(text) = with_driver(11_080, 0, 1) else { return };
    let said = "the driver is too old: it supports CUDA 11.8, and 12.0 or later is needed";
    assert!(text.contains(said), "{text}");
    assert!(!text.contains("Abacus"), "an old driver is not asked for devices: {text}");
}

#[test]
fn a_driver_without_a_device_is_said_to_have_none() {
    for (init, count) in [(100, 0), (0, 0)] {
        let Some(text) = with_driver(12_040, init, count) else { return };
        assert!(text.contains("the driver, for CUDA 12.4, finds no GPU\n"), "{text}");
    }
}

#[test]
fn a_driver_that_does_not_start_is_quoted() {
    let Some(text) = with_driver(13_000, 999, 1) else { return };
    assert!(
        text.contains("the driver does not work: `cuInit` gives the error 999, the beads are stuck\n"),
        "{text}"
    );
}

#[test]
fn devices_are_listed_with_memory_and_capability() {
    let Some(text) = with_driver(13_000, 0, 2) else { return };
    for line in [
        "driver: for CUDA 13.0\n",
        "device 0: Abacus 9000, 80.00 GiB, compute capability 9.0\n",
        "device 1: Abacus 9000, 80.00 GiB, compute capability 9.0\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("cuda         cannot run here; see below\n"), "there is no NVRTC: {text}");
}

#[test]
fn libraries_are_listed_with_their_version_and_told_apart_from_broken_ones() {
    let place = Workplace::new(HRMC);
    let both = library(&place, "libnvrtc.so.13", NVRTC, &[])
        .and_then(|_| library(&place, "libcublas.so.13", EMPTY, &[]));
    if both.is_none() {
        return;
    }
    let text = devices(&place, "");
    assert!(text.contains("NVRTC: 12.8, `libnvrtc.so.13`\n"), "{text}");
    let broken = "cuBLAS: `libcublas.so.13` does not work: it has no function `cublasGetProperty`\n";
    assert!(text.contains(broken), "{text}");
    assert!(
        text.contains("driver was not found") || text.contains("driver: for CUDA"),
        "each is asked alone: {text}"
    );
}

#[test]
fn a_toolkit_is_found_where_its_variable_says() {
    let place = Workplace::new(HRMC);
    std::fs::create_dir_all(place.path("toolkit/lib64")).expect("the folder can be made");
    let before = devices(&place, "");
    if !before.contains("NVRTC: not found")
        || library(&place, "toolkit/lib64/libnvrtc.so.12", NVRTC, &[]).is_none()
    {
        return;
    }
    let text = devices(&place, "");
    let path = place.path("toolkit/lib64/libnvrtc.so.12");
    assert!(text.contains(&format!("NVRTC: 12.8, `{}`\n", path.display())), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_library_that_is_there_but_cannot_be_loaded_is_said_to_be_with_the_words_of_the_loader() {
    let place = Workplace::new(HRMC);
    std::fs::create_dir_all(place.path("toolkit/lib64")).expect("the folder can be made");
    std::fs::create_dir(place.path("elsewhere")).expect("the folder can be made");
    // One library needs another one that the loader does not find; two are no libraries.
    let Some(needed) = library(&place, "elsewhere/libneeded.so.1", EMPTY, &["-Wl,-soname,libneeded.so.1"])
    else {
        return;
    };
    let needed = needed.display().to_string();
    library(&place, "toolkit/lib64/libcublas.so.12", EMPTY, &["-Wl,--no-as-needed", &needed]);
    for name in ["toolkit/lib64/libnvrtc.so.12", "libcuda.so.1"] {
        place.write(name, "not a library");
    }
    let cublas = format!(
        "`{}` cannot be loaded: libneeded.so.1: cannot open shared object file",
        place.path("toolkit/lib64/libcublas.so.12").display()
    );
    let text = devices(&place, "");
    let path = |name| place.path(name).display().to_string();
    let driver = format!("the NVIDIA driver: `{}` cannot be loaded: ", path("libcuda.so.1"));
    assert!(text.contains(&driver), "{text}");
    let machine_has_nvrtc = text.contains("NVRTC: 1");
    let nvrtc = format!("NVRTC: `{}` cannot be loaded: ", path("toolkit/lib64/libnvrtc.so.12"));
    assert!(text.contains(&nvrtc) || machine_has_nvrtc, "{text}");
    let machine_has_cublas = text.contains("cuBLAS: 1");
    assert!(text.contains(&format!("cuBLAS: {cublas}")) || machine_has_cublas, "{text}");

    let json: serde_json::Value = serde_json::from_str(&devices(&place, "--json")).expect("it is JSON");
    let problem = |of: &serde_json::Value| of["problem"].as_str().unwrap_or_default().to_string();
    assert!(problem(&json["cuda"]["driver"]).starts_with(&driver), "{json}");
    assert!(problem(&json["cuda"]["cublas"]).starts_with(&cublas) || machine_has_cublas, "{json}");

    place.write("tiny.hrm", TINY);
    let said = run(&place, "run tiny.hrm --train --device cuda", &[]);
    said.assert_one_message("run --train --device cuda");
    assert!(said.err.contains(&driver), "{}", said.err);
}

#[test]
fn the_variable_that_hides_devices_is_named_wherever_it_is_set() {
    let Some(hidden) = driver(12_080, 100, 0) else { return };
    hidden.write("tiny.hrm", TINY);
    for (value, said) in
        [("-1", "is set to `-1`, which may hide them"), ("", "is set and empty, which may hide them")]
    {
        let environment = [("CUDA_VISIBLE_DEVICES", value)];
        let reason = format!("the driver, for CUDA 12.8, finds no GPU; CUDA_VISIBLE_DEVICES {said}");
        let text = run(&hidden, "devices", &environment).out;
        assert!(text.contains(&reason), "{text}");
        let json = run(&hidden, "devices --json", &environment).out;
        let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(json["cuda"]["visible_devices"], value);
        assert_eq!(json["cuda"]["driver"]["problem"], reason);
        let error = run(&hidden, "run tiny.hrm --train --device cuda", &environment).err;
        assert!(error.contains(&reason), "{error}");
        let auto = run(&hidden, "run tiny.hrm --train --steps 1 --eval-limit 0 --device auto", &environment);
        assert_eq!(auto.code, Some(0), "{}", auto.err);
        assert!(auto.err.contains(&format!("`auto` does not choose `cuda`: {reason}")), "{}", auto.err);
    }
    let Some(seen) = driver(12_080, 0, 2) else { return };
    let text = run(&seen, "devices", &[("CUDA_VISIBLE_DEVICES", "3,1")]).out;
    assert!(
        text.contains("CUDA_VISIBLE_DEVICES is set to `3,1`, which chooses the devices and their order\n"),
        "{text}"
    );
}

#[test]
fn a_relative_folder_in_the_environment_is_ignored_and_said_to_be() {
    let place = Workplace::new(HRMC);
    std::fs::create_dir_all(place.path("toolkit/lib64")).expect("the folder can be made");
    place.write("toolkit/lib64/libnvrtc.so.12", "not a library");
    let environment = [("CUDA_HOME", "toolkit"), ("XDG_CACHE_HOME", "./caches")];
    let text = run(&place, "devices", &environment).out;
    for said in [
        "CUDA_HOME is ignored: `toolkit` is relative, and an absolute path is needed\n",
        "XDG_CACHE_HOME is ignored: `./caches` is relative, and an absolute path is needed\n",
    ] {
        assert!(text.contains(said), "{text}");
    }
    assert!(!text.contains("`toolkit/lib64"), "{text}");
    // A command that does not compute on a GPU does not speak of it.
    assert_eq!(run(&place, "check", &environment).err, "");
}
