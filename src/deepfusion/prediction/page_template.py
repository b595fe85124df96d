"""Templates, style and script of the page of predictions (`page`)."""

from deepfusion.report import base_template

STYLE = (
    base_template.STYLE
    + """
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; display: inline; overflow-wrap: anywhere }
h3 { font-size: .9rem; margin: .9rem 0 .2rem; font-weight: 600 }
.about { color: var(--dim); margin: 0; padding-left: 1.1rem }
table { width: 100% }
td { overflow-wrap: anywhere } td:nth-child(-n+5) { white-space: nowrap }
td:first-child { white-space: normal; min-width: 8rem } td:last-child { min-width: 14rem }
details.clip { border: 1px solid var(--line); border-radius: 6px; margin: 1rem 0; content-visibility: auto;
  contain-intrinsic-size: auto 60px }
summary { padding: .6rem .9rem; cursor: pointer } summary .verdict { font-weight: 600; margin: 0 .6rem }
.body { padding: 0 .9rem .9rem }
.top { display: grid; grid-template-columns: minmax(16rem, 26rem) 1fr; gap: 1.2rem }
@media (max-width: 44rem) { .top { grid-template-columns: 1fr } }
video, audio { width: 100%; max-height: 22rem; background: #000; border-radius: 4px } audio { background: none }
.bars { display: grid; gap: .1rem .6rem; grid-template-columns: max-content 1fr max-content; align-items: center;
  font-size: .92rem; margin: 0 0 .6rem }
.track { position: relative; height: .85rem; background: var(--panel) }
.track i { position: absolute; inset: 0 auto 0 0; background: var(--other) } .track i.first { background: var(--bar) }
.track b { position: absolute; top: -2px; bottom: -2px; border-left: 2px dashed var(--dim) }
.time { position: relative; margin-top: .8rem }
.time:focus-visible { outline: 3px solid var(--bar); outline-offset: 3px }
.lane { cursor: crosshair } .spectrogram .over[hidden] { display: none }
.head { position: absolute; top: 0; bottom: 0; left: 0; border-left: 2px solid #e11d48; pointer-events: none }
.thumbs { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; margin: .2rem 0; list-style: none }
.thumbs button { border: 2px solid transparent; padding: 0; background: none; cursor: pointer; font-size: .75rem;
  color: inherit; border-radius: 4px; width: 100px } .thumbs button:focus-visible { border-color: var(--bar) }
.thumbs img { width: 96px; height: 96px; object-fit: cover; display: block; border-radius: 3px }
@media print { .head, .hint, summary::marker { display: none }
  details.clip { break-inside: avoid; content-visibility: visible } .track i, .track { print-color-adjust: exact } }
"""
)

SCRIPT = (
    base_template.TABLES
    + """
for (const clip of all("details.clip")) {
  const media = clip.querySelector("video, audio"), line = clip.querySelector(".time");
  if (!line) continue;
  const begin = +line.dataset.begin, end = +line.dataset.end, head = clip.querySelector(".head");
  const show = (time) => {
    const shown = Math.min(Math.max(time, begin), end);
    head.style.left = 100 * (shown - begin) / (end - begin) + "%";
    line.setAttribute("aria-valuenow", shown.toFixed(3));
    line.setAttribute("aria-valuetext", shown.toFixed(1) + " s");
  };
  const seek = (time) => {
    time = Math.min(Math.max(time, begin), end);
    if (media) media.currentTime = Math.max(time, 0);
    show(time);
  };
  line.addEventListener("click", (event) => {
    const box = line.getBoundingClientRect();
    seek(begin + (end - begin) * (event.clientX - box.left) / box.width);
  });
  line.addEventListener("keydown", (event) => {
    const now = +line.getAttribute("aria-valuenow"), step = (end - begin) / 40;
    const to = { ArrowRight: now + step, ArrowLeft: now - step, ArrowUp: now + step, ArrowDown: now - step,
      PageUp: now + 4 * step, PageDown: now - 4 * step, Home: begin, End: end }[event.key];
    if (to !== undefined) { event.preventDefault(); seek(to); }
    if (event.key === " " && media) { event.preventDefault(); media.paused ? media.play() : media.pause(); }
  });
  for (const button of all("button[data-time]", clip))
    button.addEventListener("click", () => seek(+button.dataset.time));
  const box = clip.querySelector("input[data-over]");
  if (box) box.addEventListener("change", () => { clip.querySelector(".over").hidden = !box.checked; });
  if (!media) continue;
  media.addEventListener("timeupdate", () => show(media.currentTime));
  const fault = () => { clip.querySelector(".fault").hidden = false; };
  media.addEventListener("error", fault);
  for (const source of all("source", media)) source.addEventListener("error", fault);
}
const unfold = () => {
  const clip = location.hash && document.getElementById(location.hash.slice(1));
  if (clip) { clip.open = true; clip.scrollIntoView(); }
};
addEventListener("hashchange", unfold);
for (const link of all("td a[href^='#']")) link.addEventListener("click", () => setTimeout(unfold));
unfold();
addEventListener("beforeprint", () => all("details.clip").forEach((clip) => { clip.open = true; }));
"""
)

PAGE = (
    base_template.head(
        'Predictions: {{ rows | length }} clip{{ "s" if rows | length != 1 }}', allow="media-src 'self' file:;"
    )
    + """<body>
<h1>Predictions of {{ rows | length }} clip{{ "s" if rows | length != 1 }}</h1>
<ul class="about">
{% for line in about %}
<li>{{ line }}</li>
{% endfor %}
</ul>
{{ hatch }}{% if rows | length > 1 %}
<div class="filter"><label for="filter">Filter</label>
<input type="search" id="filter" aria-controls="clips" placeholder="clip, class or reason"><span role="status"
 data-noun="clips">{{ rows | length }} of {{ rows | length }} clips</span></div>
<div class="scroll" tabindex="0" role="region" aria-label="Clips"><table id="clips">
<thead><tr>
{% for name in ["clip", "prediction"] %}
<th scope="col"><button type="button">{{ name }}</button></th>
{% endfor %}
<th scope="col" class="number" aria-sort="descending"><button type="button">probability</button></th>
{% for name in ["audio alone", "video alone"] %}
<th scope="col"><button type="button">{{ name }}</button></th>
{% endfor %}
{% for name in ["faces", "audio, s"] %}
<th scope="col" class="number"><button type="button">{{ name }}</button></th>
{% endfor %}
<th scope="col"><button type="button">note</button></th>
</tr></thead>
<tbody>
{% for row in rows %}
<tr data-clip="{{ row.anchor }}">
<td>{% if loop.index <= detailed %}<a href="#{{ row.anchor }}">{{ row.id }}</a>{% else %}{{ row.id }}{% endif %}</td>
<td{% if not row.label %} class="none"{% endif %}>{{ row.label or "no answer" }}</td>
<td class="number" data-value="{{ row.score or 0 }}">{{ "%.2f" | format(row.score) if row.label else "" }}</td>
{% for name in ["audio", "video"] %}
<td>{% if name in row.alone %}{{ row.alone[name][0] }} {{ "%.2f" | format(row.alone[name][1]) }}{% endif %}</td>
{% endfor %}
<td class="number" data-value="{{ row.faces }}">{% if row.frames %}{{ row.faces }} of {{ row.frames }}{% endif %}</td>
<td class="number">{{ "%.1f" | format(row.audio_seconds) }}</td>
<td>{{ "" if row.status == "ok" else (statuses[row.status] ~ ": " if row.label else "") ~ row.reason }}</td>
</tr>
{% endfor %}
</tbody></table></div>
{% if rows | length > detailed %}
<p class="dim">Below are the {{ detailed }} clips with the highest probabilities in detail.</p>
{% endif %}
{% endif %}
{% for section in sections %}
{{ section }}
{% endfor %}
<script>
if (document.querySelectorAll("details.clip").length <= 3)
  document.querySelectorAll("details.clip").forEach((clip) => { clip.open = true; });
{{ script }}
</script>
</body>
</html>
"""
)

SECTION = """
{% macro bars(name, values, first) %}
<h3>{{ name }}</h3>
<div class="bars" role="list">
{% for label in labels %}
{% set p = values[label] %}
<span>{{ label }}</span>
<span class="track" role="listitem" aria-label="{{ label }}: {{ '%.2f' | format(p) }}"><i
{%- if label == first %} class="first"{% endif %} style="width: {{ '%.1f' | format(100 * p) }}%"></i><b
 style="left: {{ '%.1f' | format(100 * uniform) }}%"></b></span>
<span class="number">{{ "%.2f" | format(p) }}</span>
{% endfor %}
</div>
{% endmacro %}
<details class="clip" id="{{ anchor }}">
<summary><h2>{{ found.id }}</h2><span class="verdict{{ '' if ranked else ' none' }}">
{%- if ranked %}{{ ranked[0][0] }} {{ "%.2f" | format(ranked[0][1]) }}{% else %}no answer{% endif %}</span>
<span class="dim">{{ status if ranked else found.reason }}</span></summary>
<div class="body">
<div class="top">
<div>
{% if is_video %}
<video controls preload="metadata" {% if poster %}poster="{{ poster }}"{% endif %} aria-label="Video of {{ found.id }}">
<source src="{{ media }}"></video>
{% elif lanes %}
<audio controls preload="metadata" aria-label="Audio of {{ found.id }}"><source src="{{ media }}"></audio>
{% endif %}
<p class="fault none" hidden>This browser cannot play the file, or it was moved.</p>
<p class="dim">
{% if is_video %}
Face in {{ found.faces }} of {{ found.frames }} frames ({{ "%.1f" | format(found.video_seconds) }} s).
{% endif %}
{% if found.audio_seconds %}
Audio {{ "%.1f" | format(found.audio_seconds) }} s.
{% endif %}
{% if found.reason and ranked %}
{{ status | capitalize }}: {{ found.reason }}.
{% endif %}
{% if note %}
{{ note | capitalize }}.
{% endif %}
<a href="{{ media }}">media file</a>{% if table %}, <a href="{{ table }}">table of the frames (csv)</a>{% endif %}</p>
</div>
<div>
{% if ranked %}
{{ bars("Prediction " ~ status, found.probabilities, ranked[0][0]) }}
{% for name, values in found.by_modality.items() if found.by_modality | length > 1 %}
{{ bars(name | capitalize ~ " alone", values, "") }}
{% endfor %}
<p class="dim">Dashed: all classes equally probable.</p>
{% endif %}
</div>
</div>
{% if lanes %}
<p class="hint dim">Click a diagram, or use its arrow keys, to seek in the media.</p>
<div class="time" tabindex="0" role="slider" aria-label="Time in {{ found.id }}" aria-valuemin="{{ begin }}"
 aria-valuemax="{{ end }}" aria-valuenow="{{ begin }}" data-begin="{{ begin }}" data-end="{{ end }}">
{% for lane in lanes %}
<h3>{{ lane.title }}
{% if lane.over %}<label class="dim"><input type="checkbox" data-over checked> show attention</label>{% endif %}</h3>
<div class="lane {{ lane.kind }}">
{% if lane.kind == "curves" %}
<svg viewBox="0 0 {{ size.width }} {{ size.height }}" preserveAspectRatio="none" role="img"
 aria-label="{{ lane.title }}; on average highest: {{ lane.strongest }}">
{% for gap in gaps %}
<rect class="gap" x="{{ gap.x }}" width="{{ gap.width }}" y="0" height="{{ size.height }}"><title>
{{- gap.reason }}, {{ "%.2f" | format(gap.from) }} to {{ "%.2f" | format(gap.to) }} s</title></rect>
{% endfor %}
{% for curve in lane.curves %}
<path d="{{ curve.path }}" fill="none" stroke="{{ curve.colour }}"
 stroke-width="{{ 3 if curve.name == lane.strongest else 1.5 }}"
 {% if curve.dash %}stroke-dasharray="{{ curve.dash }}"{% endif %} stroke-linecap="round"
 vector-effect="non-scaling-stroke">
<title>{{ curve.name }}</title></path>
{% endfor %}
</svg><span class="edge" style="top: 0">1</span><span class="edge" style="bottom: 0">0</span>
{% else %}
<img src="{{ lane.image }}" alt="{{ lane.title }}">
{% if lane.kind == "spectrogram" %}
{% if lane.over %}<img class="over" src="{{ lane.over }}" alt="Attention to the audio">{% endif %}
<span class="edge" style="top: 0">{{ "%g" | format(lane.highest) }} kHz</span>
<span class="edge" style="bottom: 0">0</span>
{% endif %}
{% endif %}
</div>
{% if lane.kind == "curves" %}
<ul class="legend">
{% for curve in lane.curves %}
<li><svg viewBox="0 0 20 6" aria-hidden="true"><path d="M0 3H20" stroke="{{ curve.colour }}" stroke-width="3"
 {% if curve.dash %}stroke-dasharray="4 3"{% endif %}/></svg> {{ curve.name }}</li>
{% endfor %}
{% if gaps %}<li><svg viewBox="0 0 20 6" aria-hidden="true"><rect class="gap" width="20" height="6"/></svg>
{{ gaps | map(attribute="reason") | unique | join("; ") }}</li>{% endif %}
{% for part in lane.silent %}
<li>{{ "%.1f" | format(part.start) }} to {{ "%.1f" | format(part.end) }} s: no answer, {{ part.reason }}</li>
{% endfor %}
{% if lane.more %}<li>and {{ lane.more }} more windows without an answer</li>{% endif %}
</ul>
{% endif %}
{% endfor %}
<div class="axis" aria-hidden="true">{% for tick in ticks %}<span style="left: {{ tick.x }}%">{{ tick.text }}</span>
{%- endfor %}</div>
<div class="head"></div>
</div>
{% endif %}
{% for which in ["most", "least"] %}
{% set chosen = thumbnails | selectattr("which", "equalto", which) | list %}
{% if chosen %}
<h3>{{ which | capitalize }} attended frames</h3>
<ul class="thumbs">
{% for thumb in chosen %}
<li><button type="button" data-time="{{ thumb.time }}"><img src="{{ thumb.image }}" width="96" height="96"
 alt="Face at {{ '%.2f' | format(thumb.time) }} s">{{ "%.2f" | format(thumb.time) }} s<br>
{{ "%.2f" | format(thumb.weight) }} × uniform</button></li>
{% endfor %}
</ul>
{% endif %}
{% endfor %}
</div>
</details>
"""
