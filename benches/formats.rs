//! Benchmarks of the parser of the kernel's table and of the formatters, without the kernel: `cargo bench`.

use std::hint::black_box;
use std::io;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use shmadm::internals::{
    Column, Csv, Delimited, Export, Lookups, Raw, Segment, SegmentRecord, Segments, TimeFormat, View, write_rows,
};

const ROWS: usize = 1000;
const TITLES: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
                      atime      dtime      ctime                   rss                  swap\n";

/// Returns a table as the kernel writes it (ipc/shm.c, `sysvipc_shm_proc_show`). It names only root and process 1.
fn table() -> String {
    let rows = (0..ROWS).map(|row| {
        format!(
            "{:>10} {:>10}  {:>4o} {:>21} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>10} {:>10} {:>10} {:>21} {:>21}\n",
            0x10000 + row,
            row,
            0o600,
            1 + row * 7919 % 1_000_000,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            1_795_600_000 + row,
            4096 * (row % 3),
            0
        )
    });
    TITLES.to_owned() + &rows.collect::<String>()
}

fn parse(table: &str) -> Vec<Segment> {
    Segments::new(table.as_bytes()).and_then(Iterator::collect).expect("the table is well-formed")
}

fn formats(criterion: &mut Criterion) {
    let text = table();
    let segments = parse(&text);
    let lookups = Lookups::default();
    let view = View { lookups: &lookups, time_format: TimeFormat::Iso, human_sizes: false };
    let (all, default) = (Column::inexpensive(), Column::defaults());

    let mut group = criterion.benchmark_group(format!("{ROWS} segments"));
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("parse", |bencher| bencher.iter(|| parse(black_box(&text))));
    delimited::<Raw>(&mut group, "raw", &default, &segments, view);
    delimited::<Export>(&mut group, "export", &all, &segments, view);
    delimited::<Csv>(&mut group, "csv", &all, &segments, view);
    group.bench_function("json", |bencher| {
        bencher.iter(|| {
            for segment in &segments {
                let record = SegmentRecord::new(black_box(segment), &lookups);
                serde_json::to_writer(io::sink(), &record).expect("a sink takes all");
            }
        });
    });
    group.bench_function("table, the cells", |bencher| {
        let view = View { human_sizes: true, time_format: TimeFormat::Short, ..view };
        let mut cell = String::new();
        bencher.iter(|| {
            for segment in &segments {
                for column in &default {
                    cell.clear();
                    column.write(black_box(segment), &view, &mut cell);
                }
            }
        });
    });
    group.finish();
}

fn delimited<F: Delimited>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    columns: &[&Column],
    segments: &[Segment],
    view: View<'_>,
) {
    group.bench_function(name, |bencher| {
        bencher
            .iter(|| write_rows::<F>(black_box(segments), columns, &view, &mut io::sink()).expect("a sink takes all"));
    });
}

criterion_group!(benches, formats);
criterion_main!(benches);
