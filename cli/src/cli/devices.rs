//! `wgccl devices`: what `--device` takes, and what each device can do.

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use wgccl::backend::FurtherResults;
use wgccl::cpu::{Processor, cores};
use wgccl::element::DataType;
use wgccl::gpu::{Adapter, AdapterInfo, TypeSupport, adapters, types};
use wgccl::low_level::lower::Arithmetic;

use super::output::{DIM, is_quiet, print, print_json};
use crate::amount::size_name;
use crate::device::{CPU, narrowed};
use crate::error::{Error, exit};
use crate::text::plain;

#[derive(Debug, Args)]
pub(super) struct DevicesArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The CPU executor, in the shape of an adapter.
#[derive(Serialize)]
struct CpuDevice {
    index: &'static str,
    name: String,
    backend: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    driver: &'static str,
    limits: CpuLimits,
    processor: &'static Processor,
    dispatch_modes: [&'static str; 0],
    refused_modes: [&'static str; 0],
    types: Vec<TypeSupport>,
}

#[derive(Serialize)]
struct CpuLimits {
    max_ranks: u32,
    threads: usize,
}

/// What the executor knows of the processor, and has chosen for it.
fn chosen(processor: &Processor) -> String {
    let further = match processor.further_results {
        FurtherResults::Copied => "sums are copied to further places",
        FurtherResults::Stored => "sums are stored to all places at once",
    };
    let Processor { vendor, cores, vectors, .. } = processor;
    let stream = size_name(processor.stream_bytes);
    let last =
        processor.cache_bytes.map(|bytes| format!(", of which the last has {}", size_name(bytes))).unwrap_or_default();
    format!(
        "{vendor}, cores {cores}, vectors {vectors}, {further}, results of {stream} and more go past the caches{last}"
    )
}

#[derive(Serialize)]
#[serde(untagged)]
enum Device<'a> {
    Adapter(&'a AdapterInfo),
    Cpu(CpuDevice),
}

#[derive(Serialize)]
struct Json<'a> {
    ok: bool,
    /// Best first, the CPU executor last.
    devices: Vec<Device<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

pub(super) fn devices(args: &DevicesArgs) -> Result<u8, Error> {
    let adapters = adapters();
    let threads = cores();
    let cpu = CpuDevice {
        index: CPU,
        name: format!("CPU executor, {threads} threads"),
        backend: CPU,
        kind: CPU,
        driver: "",
        limits: CpuLimits { max_ranks: wgccl::cpu::MAX_RANKS, threads },
        processor: Processor::here(),
        dispatch_modes: [],
        refused_modes: [],
        types: types(|data_type| match data_type {
            // In f32, then rounded.
            DataType::F16 | DataType::BF16 | DataType::F8E4M3 | DataType::F8E5M2 => Arithmetic::Emulated,
            _ => Arithmetic::Native,
        }),
    };
    if args.json {
        let mut devices: Vec<Device<'_>> = adapters.iter().map(|adapter| Device::Adapter(adapter.info())).collect();
        devices.push(Device::Cpu(cpu));
        print_json(&Json { ok: true, devices, note: narrowed() })?;
    } else {
        print(&table(&adapters, &cpu))?;
    }
    Ok(exit::OK)
}

fn table(adapters: &[Adapter], cpu: &CpuDevice) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["index", "name", "backend", "type", "ranks", "binding", "dispatch modes"]);
    for info in adapters.iter().map(Adapter::info) {
        let modes: Vec<String> = info.dispatch_modes.iter().map(ToString::to_string).collect();
        table.add_row([
            info.index.to_string(),
            plain(&info.name),
            info.backend.to_owned(),
            info.class.to_string(),
            info.limits.max_ranks.to_string(),
            format!("{} MiB", info.limits.max_binding_bytes >> 20),
            modes.join(", "),
        ]);
    }
    table.add_row([cpu.index, &cpu.name, cpu.backend, cpu.kind, &cpu.limits.max_ranks.to_string(), "-", "-"]);
    let mut text = table.trim_fmt();
    let mut of_types: Vec<(String, Vec<String>)> = Vec::new();
    let every = adapters.iter().map(Adapter::info).map(|info| (info.index.to_string(), &info.types));
    for (index, types) in every.chain([(cpu.index.to_owned(), &cpu.types)]) {
        let line = type_line(types);
        match of_types.iter_mut().find(|(known, _)| *known == line) {
            Some((_, indices)) => indices.push(index),
            None => of_types.push((line, vec![index])),
        }
    }
    for (line, indices) in of_types {
        text.push_str(&format!("\n{DIM}types of {}: {line}{DIM:#}", indices.join(", ")));
    }
    for info in adapters.iter().map(Adapter::info) {
        for refusal in &info.refused_modes {
            text.push_str(&format!("\n{DIM}{}: no {}, {}{DIM:#}", info.index, refusal.mode, refusal.reason));
        }
    }
    text.push_str(&format!("\n{DIM}{}: {}{DIM:#}", cpu.index, chosen(cpu.processor)));
    if let Some(why) = narrowed().filter(|_| !is_quiet()) {
        text.push_str(&format!("\n{DIM}{why}{DIM:#}"));
    }
    text
}

/// Types by how they are computed; every one of them agrees with the golden in every bit.
fn type_line(types: &[TypeSupport]) -> String {
    let group = |&arithmetic: &Arithmetic| {
        let names: Vec<&str> =
            types.iter().filter(|t| t.arithmetic == arithmetic).map(|t| t.data_type.name()).collect();
        (!names.is_empty()).then(|| format!("{arithmetic} {}", names.join(" ")))
    };
    Arithmetic::ALL.iter().filter_map(group).collect::<Vec<_>>().join("; ")
}
