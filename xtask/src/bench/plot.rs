//! Lines over a growing quantity, both on logarithmic scales, as SVG: what grows in proportion is a straight line.

use std::fmt::Write as _;

use super::part::Plot;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 6] = ["#0b6e99", "#c4541b", "#5b8c2a", "#8a4fa3", "#b08900", "#555555"];

/// One axis: where a value stands between two ends.
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Self {
        let from = values.clone().fold(f64::INFINITY, f64::min).max(f64::MIN_POSITIVE);
        let to = values.fold(from, f64::max);
        // Whole powers of ten, and at least one of them.
        let from = 10_f64.powf(from.log10().floor());
        let to = 10_f64.powf(to.log10().ceil()).max(from * 10.0);
        Self { from, to, start, end }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.max(self.from) / self.from).log10() / (self.to / self.from).log10();
        self.start + share * (self.end - self.start)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (from, to) = (self.from, self.to);
        std::iter::successors(Some(from), |tick| Some(tick * 10.0)).take_while(move |tick| *tick <= to * 1.01)
    }
}

pub(super) fn svg(plot: &Plot) -> String {
    let points = || plot.lines.iter().flat_map(|line| line.points.iter());
    let x = Scale::over(points().map(|[x, _]| *x), LEFT, WIDTH - RIGHT);
    let y = Scale::over(points().map(|[_, y]| *y), HEIGHT - BOTTOM, TOP);
    let mut out = String::new();
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>"#
    );
    let mut text = |x: f64, y: f64, anchor: &str, extra: &str, words: &str| {
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(out, r#"<text x="{x:.0}" y="{y:.0}" text-anchor="{anchor}"{extra}>{words}</text>"#);
    };
    text(LEFT, 22.0, "start", r#" font-size="14" font-weight="bold""#, &plot.title);
    text(f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 12.0, "middle", "", &plot.x);
    let middle = f64::midpoint(TOP, HEIGHT - BOTTOM);
    text(16.0, middle, "middle", &format!(r#" transform="rotate(-90 16 {middle})""#), &plot.y);
    for tick in x.ticks() {
        text(x.at(tick), HEIGHT - BOTTOM + 18.0, "middle", "", &short(tick));
    }
    for tick in y.ticks() {
        text(LEFT - 8.0, y.at(tick) + 4.0, "end", "", &short(tick));
    }
    for (index, line) in plot.lines.iter().enumerate() {
        let colour = format!(r#" fill="{}""#, COLOURS[index % COLOURS.len()]);
        text(WIDTH - RIGHT + 14.0, TOP + 10.0 + 20.0 * index as f64, "start", &colour, &line.name);
    }
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = writeln!(out, r##"<path d="M{at:.1} {TOP}V{:.1}" stroke="#ddd"/>"##, HEIGHT - BOTTOM);
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = writeln!(out, r##"<path d="M{LEFT} {at:.1}H{:.1}" stroke="#ddd"/>"##, WIDTH - RIGHT);
    }
    for (index, line) in plot.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let places: Vec<_> =
            line.points.iter().map(|[px, py]| format!("{:.1},{:.1}", x.at(*px), y.at(*py))).collect();
        let _ = writeln!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            places.join(" ")
        );
        for place in &places {
            let (cx, cy) = place.split_once(',').unwrap_or_default();
            let _ = writeln!(out, r#"<circle cx="{cx}" cy="{cy}" r="3" fill="{colour}"/>"#);
        }
    }
    out + "</svg>\n"
}

/// `100`, `10k`, `1M`, `0.1`.
fn short(value: f64) -> String {
    match value {
        ..0.999 => format!("{value:.3}").trim_end_matches('0').to_owned(),
        ..1e3 => format!("{value:.0}"),
        ..1e6 => format!("{:.0}k", value / 1e3),
        _ => format!("{:.0}M", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::part::Line;

    #[test]
    fn a_cost_in_proportion_is_a_straight_line_and_words_are_text() {
        let points = [1.0, 10.0, 100.0, 1000.0].map(|x| [x, 3.0 * x]).to_vec();
        let lines = vec![Line { name: "a < b & c".to_owned(), points }];
        let words = || "µs".to_owned();
        let svg = svg(&Plot { name: words(), title: words(), x: words(), y: words(), lines });
        let (_, places) = svg.split_once("polyline points=\"").expect("there is a line");
        let (places, _) = places.split_once('"').expect("the line ends");
        let places = places.split(' ').map(|place| place.split_once(',').expect("two numbers"));
        let places: Vec<[f64; 2]> =
            places.map(|(x, y)| [x, y].map(|number| number.parse().expect("a number"))).collect();
        let steps: Vec<_> =
            places.windows(2).map(|pair| [pair[1][0] - pair[0][0], pair[0][1] - pair[1][1]]).collect();
        assert_eq!(steps.len(), 3);
        for [x, y] in &steps {
            assert!(*x > 0.0 && *y > 0.0 && (x - steps[0][0]).abs() < 0.3 && (y - steps[0][1]).abs() < 0.3);
        }
        assert!(svg.contains(">a &lt; b &amp; c<"));
    }
}
