"""result.html in a real browser, where there is one (Debian: apt-get install chromium)."""

from dataclasses import replace

import pytest
import torch
from browser import Browser, find_chromium
from page_results import moved, result_folder, video_of, waving
from test_page import HOSTILE

import semtta
from semtta.body import load_body
from semtta.output.page import write_page
from semtta.video import cut_video

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")

# Sum over the pixels of a canvas: changes where the picture does.
PIXELS = """(() => {{
  const canvas = document.getElementById("{0}");
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const paint = copy.getContext("2d");
  paint.drawImage(canvas, 0, 0);
  const bytes = paint.getImageData(0, 0, copy.width, copy.height).data;
  let [sum, drawn] = [0, 0];
  for (let i = 0; i < bytes.length; i += 4) {{
    drawn += bytes[i + 3] > 0;
    sum = (sum * 31 + bytes[i] + 7 * bytes[i + 1] + 13 * bytes[i + 2]) % 1000000007;
  }}
  return [sum, drawn];
}})()"""


@pytest.fixture(scope="module")
def browser():
    with Browser(find_chromium()) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    people = [waving(labels=[HOSTILE] * 12), waving(range(3, 9), track_id=2, seed=1)]
    video = video_of(14, folder / "clip.mp4")
    path = folder / "result.html"
    return write_page(path, people, load_body(), title=HOSTILE, fps=30.0, video=video)


def drag(browser: Browser, frame: int) -> None:
    browser.run(f"""(() => {{
      const slider = document.getElementById("slider");
      slider.value = {frame};
      slider.dispatchEvent(new Event("input"));
    }})()""")
    browser.until("!document.getElementById('video').seeking")


def test_one_slider_moves_video_meshes_and_timeline(browser, page, tmp_path):
    browser.events.clear()
    browser.open(page)
    browser.until("window.page && document.getElementById('video').readyState >= 2")
    seen = []
    for frame in (1, 10):
        drag(browser, frame)
        seen.append((
            browser.run(PIXELS.format("scene")), browser.run(PIXELS.format("overlay")),
            browser.run(PIXELS.format("points")),
            browser.run("document.getElementById('playhead').getBoundingClientRect().left"),
            browser.run("Math.floor(document.getElementById('video').currentTime * 30)"),
        ))  # fmt: skip
    (scene, overlay, points, left, time), (scene2, overlay2, points2, left2, time2) = seen
    assert scene[0] != scene2[0] and overlay[0] != overlay2[0] and points[0] != points2[0]
    assert min(scene[1], overlay[1], points[1]) > 100  # something is drawn
    assert left2 > left and (time, time2) == (1, 10)
    browser.run("page.choose('base')")
    assert browser.run(PIXELS.format("scene"))[0] != scene2[0]
    shots = set()
    for view in ("camera", "side", "above", "overview"):
        browser.run(f"document.querySelector('[data-view={view}]').click()")
        shots.add(browser.run(PIXELS.format("scene"))[0])
    assert len(shots) == 4
    assert len(browser.screenshot(tmp_path / "page.png")) > 20_000
    assert not browser.errors()
    assert all(url.startswith(("file:", "blob:")) for url in browser.requests())


def test_the_mesh_lies_on_the_person_in_the_picture(browser, page):
    """The overlay's camera is the one that filmed: the drawn mesh spans what is projected."""
    browser.open(page)
    browser.until("window.page && document.getElementById('overlay').width > 0")
    browser.run("page.choose('adapted')")
    drag(browser, 5)
    found = browser.run("""(() => {
      const { stage, data, track } = page;
      const row = page.rows.get(5), J = track.joints.length;
      const scale = 2 / data.picture.width, squash = 2 / data.picture.height;
      const wrist = track.joints.indexOf("left_wrist");
      const [u, v] = track.points.subarray(2 * (J * row + wrist), 2 * (J * row + wrist) + 2);
      const bone = new THREE.Vector3().setFromMatrixPosition(
        stage.figures.adapted.bones[20].matrixWorld).project(stage.eyes.adapted);
      return [bone.x - ((u + 0.5) * scale - 1), bone.y - (1 - (v + 0.5) * squash)];
    })()""")
    # 2D evidence has a pixel of noise, of 1280 and 720.
    assert abs(found[0]) < 0.01 and abs(found[1]) < 0.015


def test_keys_clicks_and_people(browser, page):
    browser.open(page)
    browser.until("Boolean(window.page)")
    drag(browser, 4)
    for key, frame in (("ArrowRight", 5), ("ArrowLeft", 4), ("End", 13), ("Home", 0)):
        browser.run(f"window.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}'}}))")
        assert browser.run("page.frame") == frame
    browser.run("""(() => {
      const plot = document.querySelectorAll(".plot")[2], box = plot.getBoundingClientRect();
      const at = { clientX: box.left + box.width * 0.52, clientY: box.top + 5, bubbles: true };
      plot.dispatchEvent(new PointerEvent("pointerdown", at));
      plot.dispatchEvent(new PointerEvent("pointerup", at));
    })()""")
    assert browser.run("page.frame") == 7
    browser.run("document.querySelectorAll('#tracks button')[1].click()")
    assert browser.run("page.track.id") == 2
    drag(browser, 13)  # the second person is not there any more
    assert "not in the picture" in browser.run("document.getElementById('clock').textContent")
    browser.run("page.choose('all')")
    assert not browser.run("page.stage.figures.base.mesh.visible")
    assert not browser.errors()


def test_playing_goes_through_the_video_and_stops_at_its_end(browser, page):
    browser.open(page)
    browser.until("window.page && document.getElementById('video').readyState >= 2")
    drag(browser, 0)
    browser.run("page.play()")
    browser.until("!page.playing && page.frame === 13")
    assert not browser.errors()


def test_hostile_texts_are_shown_and_never_run(browser, page):
    browser.open(page)
    browser.until("Boolean(window.page)")
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert "pwned" not in browser.run("document.title").replace("document.title='pwned'", "")
    shown = browser.run("document.querySelector('.plot.labels span').textContent")
    assert shown.startswith("</script><img src=x onerror=")
    # Even markup that got in could not run: the page's policy refuses it.
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.hit=1>')")
    assert browser.run("new Promise(r => setTimeout(() => r(window.hit), 300))") is None


def test_a_row_for_held_out_errors_where_there_are_some(browser, tmp_path):
    titles = "Array.from(document.querySelectorAll('.row h2'), h => h.textContent).join()"
    given = {1: (torch.full((12,), 9.0), torch.full((12,), torch.nan))}
    for heldout in (None, given):
        path = write_page(tmp_path / "a.html", [waving()], load_body(), title="x", fps=30.0,
                          heldout=heldout)  # fmt: skip
        browser.open(path)
        browser.until("Boolean(window.page)")
        assert ("held-out 2D error" in browser.run(titles)) == (heldout is not None)


def test_a_page_without_video_still_plays(browser, tmp_path):
    path = write_page(tmp_path / "a.html", [waving()], load_body(), title="x", fps=30.0)
    browser.events.clear()
    browser.open(path)
    browser.until("Boolean(window.page)")
    assert browser.run("document.getElementById('no-video').textContent") == (
        "The video is not in this page."
    )
    browser.run("page.play()")
    browser.until("!page.playing && page.frame === 11")
    assert not browser.errors()


def test_a_comparison_shows_any_of_its_motions(browser, tmp_path):
    video = video_of(14, tmp_path / "clip.mp4")
    first = waving()
    far = moved(first, (0.4, 0.0, 0.2), pixels=5)
    part = replace(far.at(torch.arange(4, 10)), camera=replace(far.camera, focal=900.0))
    folders = [
        result_folder(tmp_path / name, [result], video)
        for name, result in (("one", first), (HOSTILE.replace("/", "|"), far), ("part", part))
    ]
    semtta.compare(folders, tmp_path / "out")
    browser.events.clear()
    browser.open(tmp_path / "out" / "compare.html")
    browser.until("window.page && document.getElementById('video').readyState >= 2")
    pressed = """Array.from(document.querySelectorAll("#shown [aria-pressed=true]"),
      (button) => button.dataset.shown).join()"""
    drag(browser, 5)
    assert browser.run(pressed) == "result-1,result-2,result-3"
    seen = {(browser.run(PIXELS.format("scene"))[0], browser.run(PIXELS.format("overlay"))[0])}
    for key in ("result-2", "result-3", "base", "all", "all"):
        browser.run(f"document.querySelector('[data-shown=\"{key}\"]').click()")
        seen.add((browser.run(PIXELS.format("scene"))[0], browser.run(PIXELS.format("overlay"))[0]))
    assert len(seen) == 5 and browser.run(pressed) == "base,result-1,result-2,result-3,all"
    browser.run("window.dispatchEvent(new KeyboardEvent('keydown', {key: '1'}))")
    assert browser.run(pressed) == "result-1,result-2,result-3"
    # The third result does not have the person in frame 2, and filmed with another lens.
    visible = "page.stage.figures['result-3'].mesh.visible"
    assert browser.run(visible) is True
    drag(browser, 2)
    assert browser.run(visible) is False
    lens = "page.stage.eyes['{}'].projectionMatrix.elements[0]"
    ratio = browser.run(lens.format("result-3")) / browser.run(lens.format("result-1"))
    assert abs(ratio - 900 / 800) < 1e-6
    titles = browser.run("Array.from(document.querySelectorAll('.row h2'), h => h.textContent)")
    assert titles.count("label") == 3 and "to one, mm" in titles and "pose to one, mm" in titles
    assert "lacks 6 frames" in browser.run("document.getElementById('remarks').textContent")
    frame = browser.run("Number(document.querySelector('.table td button').textContent)")
    browser.run("document.querySelector('.table td button').click()")
    assert browser.run("page.frame") == frame
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert not browser.errors()
    assert all(url.startswith(("file:", "blob:")) for url in browser.requests())


def test_a_part_of_a_video_begins_with_its_first_frame(browser, tmp_path):
    video = cut_video(video_of(14, tmp_path / "clip.mp4"), 4, 12)
    path = write_page(tmp_path / "result.html", [waving(range(4, 12))], load_body(), title="part",
                      fps=30.0, video=video)  # fmt: skip
    browser.events.clear()
    browser.open(path)
    clock = "document.getElementById('clock').textContent"
    assert browser.run("document.getElementById('slider').min") == "4"
    drag(browser, 7)
    assert browser.run(clock).startswith("frame 7 (4 to 11) · 0.23 s")
    shown = browser.run("document.getElementById('video').currentTime")
    assert 3 / 30 < shown < 4 / 30  # the fourth frame of the clip
    browser.run("""document.dispatchEvent(new KeyboardEvent("keydown",
        { key: "Home", bubbles: true }))""")
    assert browser.run(clock).startswith("frame 4 ")
    label = browser.run("document.querySelector('.labels span').style.cssText")
    assert "left: 0%" in label and "width: 100%" in label
