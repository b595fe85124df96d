"""Template and style of the report page (`page`); parts shared with other pages are in `base_template`."""

from deepfusion.report import base_template

STYLE = """
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .5rem; border-bottom: 2px solid var(--line); padding-bottom: .2rem }
h3 { font-size: 1.02rem; margin: 1.4rem 0 .3rem }
p, ul { max-width: 48rem } p { margin: .4rem 0 } ul { padding-left: 1.2rem; margin: .4rem 0 }
.skip { position: absolute; left: -99rem } .skip:focus { position: static }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: .6rem 0; max-width: none }
dl.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .6rem; margin: 1rem 0 }
dl.tiles div { background: var(--panel); border-radius: 6px; padding: .5rem .8rem }
dt { font-size: .82rem; color: var(--dim) } dd { margin: 0; overflow-wrap: anywhere }
.tiles dd { font-size: 1.25rem; font-weight: 600 }
.tiles small { display: block; font-size: .82rem; font-weight: 400; color: var(--dim) }
thead th.number { white-space: normal }
thead th { border-bottom: 2px solid var(--edge); vertical-align: bottom } tbody th { font-weight: 400 }
tbody th small { display: block; color: var(--dim); font-size: .82rem; font-weight: 400; max-width: 15rem }
.compact td, .compact th { padding: .2rem .4rem } .compact { width: 100% }
tr.important th, tr.important td { background: var(--panel); font-weight: 600 }
.note { border-left: 4px solid var(--warn); padding: .2rem .8rem; background: var(--panel); max-width: 48rem }
details { margin: .5rem 0 } td details { margin: 0 } summary { cursor: pointer }
details > *:not(summary) { margin-left: 1rem }
details.matrix { display: inline-block; vertical-align: top; margin-right: 1.4rem; max-width: 100% }
.findings ul { font-size: .88rem; overflow-wrap: anywhere }
.plot { position: relative; min-width: 11rem; height: 1.7rem; padding: 0 }
.plot i { position: absolute; top: calc(50% - 1px); border-top: 2px solid var(--bar) }
.plot b { position: absolute; top: calc(50% - 5px); width: 10px; height: 10px; margin-left: -5px; border-radius: 50%;
  border: 2px solid var(--bar); background: var(--paper) } .plot b.full { background: var(--bar) }
.plot u { position: absolute; top: 0; bottom: 0; border-left: 1px dashed var(--edge) }
th.scale { position: relative; min-width: 11rem; padding: 0 0 1.2rem; font-size: .8rem; font-weight: 400 }
th.scale span { position: absolute; bottom: 0; transform: translateX(-50%) }
th.scale span.first { transform: none } th.scale span.last { transform: translateX(-100%) }
.meter { min-width: 7rem } .meter i { display: block; height: .8rem; margin-top: .3rem; background: var(--bar) }
table.heat td { text-align: right; background: color-mix(in srgb, var(--heat) var(--v), var(--paper)) }
table.heat td.plain { background: none } table.heat td.same { font-weight: 700 }
table.heat { font-size: .9rem }
.charts { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem }
.charts figure { margin: 0; flex: 0 1 21rem; min-width: 0 }
figcaption { font-size: .88rem } svg.chart { width: 100%; height: auto; font: 12px system-ui, sans-serif }
.chart text { fill: var(--ink) } .chart .end { text-anchor: end } .chart .mid { text-anchor: middle }
.chart path { fill: none; stroke-width: 2 } .chart .grid { stroke: var(--line); stroke-width: 1 }
.s0 { stroke: var(--series0); fill: var(--series0) } .s1 { stroke: var(--series1); fill: var(--series1) }
.s2 { stroke: var(--series2); fill: var(--series2) } .s3 { stroke: var(--series3); fill: var(--series3) }
.example { margin: 1.2rem 0; break-inside: avoid } .example h4 { margin: .2rem 0; overflow-wrap: anywhere }
.band svg { position: absolute; inset: 0 }
pre { background: var(--panel); padding: .7rem; overflow-x: auto; font-size: .85rem }
code { overflow-wrap: anywhere; font-size: .85rem } td code { display: block; min-width: 17rem }
@media (max-width: 30rem) { body { padding: 0 .7rem } td, th { padding: .2rem .4rem } }
@media print { h2, h3 { break-after: avoid } tr, figure, details.matrix { break-inside: avoid } body { font-size: 10pt }
  .scroll { overflow: visible } table { font-size: 8.5pt } tbody th small { font-size: 7pt }
  .plot, .meter i, table.heat td, .plot b.full { print-color-adjust: exact } }
"""

SCRIPT = """
addEventListener("beforeprint", () => all("details.print").forEach((part) => { part.open = true; }));
"""

PAGE = (
    """
{% macro sortable(text, number=False, sorted="") %}
<th scope="col"{% if number %} class="number"{% endif %}{% if sorted %} aria-sort="{{ sorted }}"{% endif %}>
<button type="button">{{ text }}</button></th>
{%- endmacro %}
{% macro filter(table, hint, rows, noun) %}
<div class="filter"><label for="filter-{{ table }}">Filter</label>
<input type="search" id="filter-{{ table }}" aria-controls="{{ table }}" placeholder="{{ hint }}"><span role="status"
 data-noun="{{ noun }}">{{ rows }} of {{ rows }} {{ noun }}</span></div>
{%- endmacro %}
{% macro scroll(name) %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ name }}">{{ caller() }}</div>
{%- endmacro %}
{% macro percent(x, digits=1) %}{{ "%.*f" | format(digits, 100 * x) }}{% endmacro %}
{% macro points(x) %}{{ ("%+.1f" | format(100 * x)).replace("-", "−") }}{% endmacro %}
{% macro place(x, ends) %}{{ "%.2f" | format(100 * (x - ends[0]) / (ends[1] - ends[0])) }}%{% endmacro %}
{% macro plot(low, high, middle, ends, mark, full) %}
<td class="plot" aria-hidden="true"><u style="left: {{ place(mark, ends) }}"></u><i style="left: {{ place(low, ends) }};
 width: {{ "%.2f" | format(100 * (high - low) / (ends[1] - ends[0])) }}%"></i><b{% if full %} class="full"{% endif %}
 style="left: {{ place(middle, ends) }}"></b></td>
{%- endmacro %}
{% macro scale(ends, mark, text) %}
<th class="scale" aria-hidden="true">
{#- A longer text at the mark would cover the left end's number. #}
{%- if text | length == 1 or mark <= ends[0] or mark > ends[0] + (ends[1] - ends[0]) / 3 %}
<span class="first" style="left: 0">{{ "%.0f" | format(100 * ends[0]) }}</span>{% endif %}
{%- if ends[0] < mark < ends[1] %}<span style="left: {{ place(mark, ends) }}">{{ text }}</span>{% endif %}
<span class="last" style="left: 100%">{{ "%.0f" | format(100 * ends[1]) }}</span></th>
{%- endmacro %}
{% macro matrix(study, name) %}
{% call scroll("Confusion matrix of " ~ name) %}
<table class="heat"><thead><tr><th scope="col">label</th>
{%- for label in study.labels %}<th scope="col" class="number">{{ label }}</th>{% endfor %}
<th scope="col" class="number">n</th></tr></thead><tbody>
{% for label, shares, n in study.confusions[name] %}
{% set row = loop.index %}
<tr><th scope="row">{{ label }}</th>
{%- for share in shares %}<td{% if loop.index == row %} class="same"{% endif %}
 style="--v: {{ percent(share, 0) }}%">{{ percent(share, 0) }}</td>{% endfor %}
<td class="plain">{{ n }}</td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
{% endmacro %}
"""
    + base_template.head("Deep Fusion: {{ title }}")
    + """<body>
{{ hatch }}<a class="skip" href="#main">Skip to the content</a>
<header>
<h1>Deep Fusion: {{ title }}</h1>
<p class="dim">Audio-video emotion recognition by attention-guided factorized bilinear pooling (FBP).
{% for link in links %}<a href="{{ link.address }}">{{ link.text }}</a>{{ ", " if not loop.last else "." }}
{% endfor %}</p>
<nav aria-label="Contents"><ul>
<li><a href="#data">Data</a></li><li><a href="#coverage">Coverage</a></li><li><a href="#costs">Costs</a></li>
{% for study in studies %}
<li><a href="#models-{{ loop.index }}">Models{% if studies | length > 1 %}: {{ study.short }}{% endif %}</a></li>
{% endfor %}
<li><a href="#setup">Configuration</a></li><li><a href="#citations">Citations</a></li></ul></nav>
</header>
<main id="main">
<dl class="tiles">
{% for tile in tiles %}
<div><dt>{{ tile.name }}</dt><dd>{{ tile.value }}<small>{{ tile.more }}</small></dd></div>
{% endfor %}
</dl>

<section id="data">
<h2>Data</h2>
<h3>Findings</h3>
{% call scroll("Findings") %}
<table class="findings"><thead><tr><th scope="col">check</th><th scope="col" class="number">clips</th>
<th scope="col">consequence</th></tr></thead><tbody>
{% for check in findings %}
<tr><th scope="row">{{ check.name }}</th>
<td class="number{{ ' none' if check.clips }}">{{ check.clips | length or "none" }}</td>
<td>{% if check.clips %}{{ check.means }}
<details><summary>{{ check.clips | length }} clip{{ "s" if check.clips | length != 1 }}</summary><ul>
{% for id, detail in (check.clips.items() | list)[:listed] %}
<li>{{ id }}{% if detail %}: {{ detail }}{% endif %}</li>
{% endfor %}
{% if check.clips | length > listed %}
<li>and {{ check.clips | length - listed }} more: <code>deepfusion info</code> lists them</li>
{% endif %}
</ul></details>{% endif %}</td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
{% for line in left_out %}
<p>{{ line }}.</p>
{% endfor %}
{% if balance.labels %}
<h3>Labels</h3>
{% call scroll("Labels") %}
<table><thead><tr><th scope="col">label</th><th scope="col" class="number">clips</th>
<th scope="col" class="number">share, %</th><th scope="col"></th><th scope="col" class="number">speakers</th>
<th scope="col" class="number">minutes</th></tr></thead><tbody>
{% for label in balance.labels %}
<tr><th scope="row">{{ label.name }}</th><td class="number">{{ label.clips }}</td>
<td class="number">{{ percent(label.share) }}</td>
<td class="meter" aria-hidden="true"><i style="width: {{ percent(label.share / top_share) }}%"></i></td>
<td class="number">{{ label.speakers or "unknown" }}</td>
<td class="number">{{ "%.1f" | format(label.minutes) }}</td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
{% if balance.ratio > 1 %}
<p>The largest class has {{ "%.2g" | format(balance.ratio) }} times as many clips as the smallest. Uniform guessing is
right in {{ percent(1 / balance.labels | length) }} % of the clips of a balanced set; always predicting the largest
class would be right in {{ percent(top_share) }} % of these clips.</p>
{% else %}
<p>All classes have equally many clips. Guessing is right in {{ percent(top_share) }} % of them.</p>
{% endif %}
{% endif %}
{% if balance.per_speaker %}
<h3>Speakers</h3>
<p>Clips per speaker: {{ balance.per_speaker[0] }} to {{ balance.per_speaker[2] }},
median {{ "%g" | format(balance.per_speaker[1]) }}.</p>
{% if balance.matrix %}
{% set most = balance.matrix | map(attribute=1) | map("max") | max %}
<details class="print"><summary>Clips per speaker and label</summary>
{% call scroll("Clips per speaker and label") %}
<table class="heat"><thead><tr><th scope="col">speaker</th>
{%- for label in balance.labels %}<th scope="col" class="number">{{ label.name }}</th>{% endfor %}
<th scope="col" class="number">all</th></tr></thead><tbody>
{% for speaker, numbers, sum in balance.matrix %}
<tr><th scope="row">{{ speaker }}</th>
{%- for n in numbers %}<td style="--v: {{ percent(n / most, 0) }}%">{{ n }}</td>{% endfor %}
<td class="plain">{{ sum }}</td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
</details>
{% endif %}
{% endif %}
</section>

<section id="coverage">
<h2>Coverage</h2>
<p>Coverage is the share of a clip's frames with the face of the followed person.</p>
{% if bins %}
<table><thead><tr><th scope="col">coverage</th><th scope="col" class="number">clips</th>
<th scope="col"></th></tr></thead><tbody>
{% for bin in bins %}
<tr><th scope="row">{{ bin.text }}</th><td class="number">{{ bin.clips }}</td>
<td class="meter" aria-hidden="true"><i style="width: {{ percent(bin.share) }}%"></i></td></tr>
{% endfor %}
</tbody></table>
{% endif %}
<details><summary>Clips{% if rows | length < clip_count %}: the {{ rows | length }} of {{ clip_count }} with the lowest
coverage{% endif %}</summary>
{{ filter("clips", "clip, label, speaker", rows | length, "clips") }}
{% call scroll("Clips") %}
<table id="clips"><thead><tr>{{ sortable("clip") }}{{ sortable("label") }}{{ sortable("speaker") }}
{{ sortable("frames", True) }}{{ sortable("with face", True) }}{{ sortable("coverage, %", True, "ascending") }}
{{ sortable("video, s", True) }}{{ sortable("audio, s", True) }}{{ sortable("not used because") }}</tr></thead><tbody>
{% for row in rows %}
<tr><th scope="row">{{ row.id }}</th><td>{{ row.label }}</td><td>{{ row.speaker }}</td>
<td class="number">{{ row.frames }}</td><td class="number">{{ row.faces }}</td>
<td class="number" data-value="{{ -1 if row.coverage is none else row.coverage }}">
{{- "" if row.coverage is none else percent(row.coverage) }}</td>
{% for seconds in (row.video_duration, row.audio_duration) %}
<td class="number" data-value="{{ -1 if seconds is none else seconds }}">
{{- "" if seconds is none else "%.2f" | format(seconds) }}</td>
{% endfor %}
<td>{{ row.lacks }}</td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
</details>
</section>

<section id="costs">
<h2>Costs</h2>
{% if costs %}
<p>Feature extraction: {{ cost_words }}.</p>
{% call scroll("Costs of the extraction") %}
<table><thead><tr>{% for name in head %}<th scope="col"{% if loop.index > 1 %} class="number"{% endif %}>{{ name }}</th>
{%- endfor %}<th scope="col"></th></tr></thead><tbody>
{% for cells, share, is_bottleneck in costs %}
<tr{% if is_bottleneck %} class="important"{% endif %}><th scope="row">{{ cells[0] }}
{%- if is_bottleneck %} (bottleneck){% endif %}</th>
{%- for cell in cells[1:] %}<td class="number">{{ cell }}</td>{% endfor %}
<td class="meter" aria-hidden="true"><i style="width: {{ percent(share) }}%"></i></td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
{% else %}
<p>Not measured: this store has no cost ledger.</p>
{% endif %}
</section>

{% for study in studies %}
{% set id = loop.index %}
<section id="models-{{ id }}">
<h2>Models{% if studies | length > 1 %}: {{ study.short }}{% endif %}</h2>
<p>{{ study.heading }}.
{{ study.protocol | capitalize }}, {{ study.seeds }} seed{{ "s" if study.seeds != 1 }},
{{ study.labels | length }} classes, {{ study.speakers }}. Test clips of a fold are used neither in training nor in
hyperparameter selection of that fold. Next to this page, <code>{{ study.folder }}/predictions.csv</code>
has the predictions of all test clips
{%- if study.model %}, and <code>{{ study.folder }}/model/</code> the final model, trained on all clips:
<code>deepfusion predict CLIP --model FOLDER</code> applies it to new ones{% endif %}.</p>
{% for sentence in study.notes %}
<p class="note">{{ sentence }}</p>
{% endfor %}
<h3>Accuracy</h3>
{% if study.rows | length > 8 %}
{{ filter("models-table-" ~ id, "model, such as fbp or svm", study.rows | length, "models") }}
{% endif %}
{% call scroll("Models") %}
<table class="compact" id="models-table-{{ id }}"><thead><tr>{{ sortable("model") }}{{ sortable("accuracy, %", True) }}
<th scope="col" class="number">95 % interval</th>{{ scale(study.ends, study.chance, "chance") }}
{%- for name in ["UAR, %", "macro-F1, %", "ECE, %", "accuracy with face, %", "seeds"] %}
{{ sortable(name, True) }}{% endfor %}</tr></thead><tbody>
{% for row in study.rows %}
<tr{% if row.name == study.explained %} class="important"{% endif %}>
<th scope="row">{{ row.name }}<small>{{ row.what }}</small></th>
<td class="number" data-value="{{ row.accuracy }}">{{ row.cells[0] }}</td>
<td class="number">{{ percent(row.interval[0]) }} to {{ percent(row.interval[1]) }}</td>
{{ plot(row.interval[0], row.interval[1], row.accuracy, study.ends, study.chance, True) }}
{%- for cell in row.cells[1:] %}<td class="number" data-value="{{ row["values"][loop.index0] }}">{{ cell }}</td>
{%- endfor %}
<td class="number">{{ row.seeds }}</td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
<p>Mean ± standard deviation over the test speakers; UAR: unweighted average recall; ECE: expected calibration error.
Interval: two-stage bootstrap over speakers and their clips, 95 % percentile interval of the mean accuracy. Intervals of
two models may overlap although their paired difference is clear: compare models by the differences below.</p>
{% if study.comparisons %}
<h3>Paired differences</h3>
{% call scroll("Paired differences") %}
<table class="compact" id="differences-{{ id }}"><thead><tr>{{ sortable("comparison") }}
{{ sortable("difference, points", True) }}
<th scope="col" class="number">95 % interval</th>{{ scale(study.difference_ends, 0, "0") }}
{{ sortable("p, speakers", True) }}{{ sortable("p, clips", True) }}
<th scope="col" class="number">speakers +/=/−</th>{{ sortable("d_z", True) }}{{ sortable("supported") }}
</tr></thead><tbody>
{% for c in study.comparisons %}
<tr><th scope="row">{{ c.model }} − {{ c.than }}</th>
<td class="number" data-value="{{ c.difference }}">{{ points(c.difference) }}</td>
<td class="number">{{ points(c.interval[0]) }} to {{ points(c.interval[1]) }}</td>
{{ plot(c.interval[0], c.interval[1], c.difference, study.difference_ends, 0, c.supported) }}
<td class="number" data-value="{{ c.sign_flip_p_holm }}">{{ "%.3g" | format(c.sign_flip_p_holm) }}</td>
<td class="number" data-value="{{ c.mcnemar_p_holm }}">{{ "%.2g" | format(c.mcnemar_p_holm) }}</td>
<td class="number">{{ c.speakers_up }}/{{ c.speakers_equal }}/{{ c.speakers_down }}</td>
<td class="number" data-value="{{ c.d_z or 0 }}">
{{- ("%.2f" | format(c.d_z)).replace("-", "−") if c.d_z is not none else "" }}</td>
<td>{{ "yes" if c.supported else "no" }}</td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
<p>Accuracy of the first model minus accuracy of the second, mean over the speakers, same clips, folds and seeds. A
filled circle marks a difference that is supported over speakers: the interval excludes 0 and p is below {{ level }}.
p over
speakers: sign-flip test; p over clips: McNemar's exact test; both corrected for the {{ study.comparisons | length }}
comparisons, which were fixed in advance (Holm). +/=/−: speakers for whom the first model is better, equal, worse. d_z:
Cohen's d of the speakers' differences.
{%- if study.least_p >= level %} With these speakers and comparisons, the smallest possible p over speakers is
{{ "%.2g" | format(study.least_p) }}: no difference can be supported.{% endif %}</p>
<details class="print"><summary>In words</summary><ul>{% for sentence in study.words %}<li>{{ sentence }}</li>
{% endfor %}</ul></details>
{% else %}
<p>No planned comparison has both models, so no difference was tested.</p>
{% endif %}
{% if study.by_speaker[1] %}
<details class="print"><summary>Accuracy by speaker</summary>
{% call scroll("Accuracy by speaker") %}
<table class="heat" id="speakers-{{ id }}"><thead><tr>{{ sortable("speaker") }}{{ sortable("predictions", True) }}
{%- for name in study.by_speaker[0] %}{{ sortable(name, True) }}{% endfor %}</tr></thead><tbody>
{% for speaker, n, values in study.by_speaker[1] %}
<tr><th scope="row">{{ speaker }}</th><td class="plain">{{ n }}</td>
{%- for value in values %}<td style="--v: {{ percent(value, 0) }}%">{{ percent(value) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table>
{% endcall %}
</details>
{% endif %}
<h3>Confusion matrices</h3>
<p>Rows: label; columns: prediction; per cent of the row. n: predictions, all clips and seeds.</p>
{% for name in study.shown + study.confusions | reject("in", study.shown) | list %}
<details class="matrix{{ ' print' if name in study.shown }}"{% if name in study.shown %} open{% endif %}>
<summary>{{ name }}</summary>{{ matrix(study, name) }}</details>
{% endfor %}
<h3>Hyperparameter search</h3>
<p>Selected by nested cross-validation: per outer fold, the candidate with the lowest cross-entropy after calibration on
inner folds of the training speakers. Points: mean over the outer folds; bars: their standard deviation.</p>
<div class="charts">{% for name in study.searches if name in study.shown %}<figure>{{ study.searches[name] }}
<figcaption>{{ name }}</figcaption></figure>{% endfor %}</div>
{% if study.searches | length > study.shown | length %}
<details><summary>Other models</summary><div class="charts">
{% for name in study.searches if name not in study.shown %}<figure>{{ study.searches[name] }}
<figcaption>{{ name }}</figcaption></figure>{% endfor %}</div></details>
{% endif %}
<details class="print"><summary>Selected values, with the number of networks (all folds)</summary>
{% call scroll("Selected values") %}
<table><thead><tr><th scope="col">model</th><th scope="col">learning rate</th>
<th scope="col">principal axes</th></tr></thead><tbody>
{% for name, rates, axes in study.chosen %}
<tr><th scope="row">{{ name }}</th><td>{{ rates }}</td><td>{{ axes }}</td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
</details>
{% if study.sweeps %}
<h3>FBP with one setting varied at a time</h3>
<p>Measured on inner folds of the training speakers: no test clips are used, and nothing is selected by these curves.
Bars: standard deviation over the outer folds, whose training speakers overlap.</p>
<div class="charts">{% for chart in study.sweeps %}<figure>{{ chart }}</figure>{% endfor %}</div>
{% endif %}
{% if study.attention or study.examples %}
<h3>Attention of {{ study.explained }}</h3>
<ul>{% for sentence in study.attention %}<li>{{ sentence }}</li>{% endfor %}</ul>
{% if study.examples %}
<p>Examples from the test folds, chosen by rule. Weights are means over the seeds. Orange on the spectrogram: attention
above the uniform weight; orange on the frames: attention relative to the highest; hatched: no face.</p>
{% for example in study.examples %}
<div class="example">
<h4>{{ example.id }}</h4>
<p>{{ example.why | capitalize }}. Label {{ example.label }}, prediction {{ example.predicted }} with probability
{{ "%.2f" | format(example.probability) }}.</p>
{% for lane in example.lanes %}
<p class="dim">{{ lane.title }}; {{ lane.text }}</p>
<div class="lane {{ lane.kind }}"><img src="{{ lane.image }}" alt="{{ lane.title }}; {{ lane.text }}">
{% if lane.over %}
<img class="over" src="{{ lane.over }}" alt="">
<span class="edge" style="top: 0">{{ "%g" | format(lane.highest) }} kHz</span>
<span class="edge" style="top: calc(50% - .6em)">{{ "%g" | format(lane.highest / 2) }}</span>
<span class="edge" style="bottom: 0">0</span>
{% endif %}
{% if lane.gaps %}
<svg viewBox="0 0 {{ size.width }} {{ size.height }}" preserveAspectRatio="none" aria-hidden="true">
{% for gap in lane.gaps %}<rect class="gap" x="{{ gap.x }}" width="{{ gap.width }}" height="{{ size.height }}"/>
{% endfor %}</svg>
{% endif %}
</div>
{% if lane.frames %}
<div class="axis" aria-hidden="true">{% for tick in lane.frames %}<span style="left: {{ tick.x }}%">
{{- tick.text }}</span>{% endfor %}</div>
{% endif %}
{% endfor %}
<div class="axis" aria-hidden="true">{% for tick in example.ticks %}
<span style="left: {{ tick.x }}%">{{ tick.text }}</span>{% endfor %}</div>
</div>
{% endfor %}
{% endif %}
{% endif %}
</section>
{% endfor %}

<section id="setup">
<h2>Configuration, versions, hashes</h2>
{% call scroll("Networks") %}
<table><thead><tr><th scope="col">features</th><th scope="col">network</th><th scope="col">SHA-256 of the weights</th>
<th scope="col">licence</th></tr></thead><tbody>
{% for network in networks %}
<tr><th scope="row">{{ network.slot }}</th><td>{{ network.name }}</td><td><code>{{ network.sha256 }}</code></td>
<td>{{ network.licence }}</td></tr>
{% endfor %}
</tbody></table>
{% endcall %}
<dl>{% for name, value in hashes %}<dt>{{ name }}</dt><dd><code>{{ value }}</code></dd>{% endfor %}</dl>
<h3>Versions</h3>
<p>Features were extracted by deepfusion {{ code_version or "of an unknown version" }}. This page was written with:
{{ versions | join(", ") }}. Versions of the stages' code, which are part of their cache keys:
{% for stage, version in stages.items() %}{{ stage }} {{ version }}{{ ", " if not loop.last }}{% endfor %}.</p>
<h3>Configuration</h3>
{% for name, text in configurations %}
<details><summary>{{ name }}</summary><pre tabindex="0">{{ text }}</pre></details>
{% endfor %}
</section>

<section id="citations">
<h2>Citations</h2>
<p>To be cited in publications with these results.</p>
<ul>{% for item in citations %}<li>{{ item }}</li>{% endfor %}</ul>
{% if licence %}<p>Licence of the corpus: {{ licence }}</p>{% endif %}
</section>
</main>
<script>{{ script }}</script>
</body>
</html>
"""
)
