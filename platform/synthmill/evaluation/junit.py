"""Gates as JUnit XML, which every CI system shows: one test case a gate."""

from xml.etree import ElementTree as ET

from synthmill.evaluation.gates import GateResult
from synthmill.evaluation.report import Report


def to_junit(report: Report) -> bytes:
    """`failure`: an error gate failed. `skipped`: inconclusive, not run, not applicable. Warnings pass."""
    cases = [_case(gate) for gate in report.gates]
    failed = sum(case.find("failure") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    suite = ET.Element(
        "testsuite",
        name="synthmill gates",
        tests=str(len(cases)),
        failures=str(failed),
        errors="0",
        skipped=str(skipped),
        time=str(report.timings.get("total", 0)),
        timestamp=report.created,
    )
    properties = ET.SubElement(suite, "properties")
    profile = report.config.get("profile")
    facts = {"verdict": report.verdict, "profile": profile, "report_sha256": report.digest}
    for key, value in facts.items():
        ET.SubElement(properties, "property", name=key, value=str(value))
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(gate: GateResult) -> ET.Element:
    # CI systems group cases by class: a metric's gates are listed together.
    group, _, name = gate.id.partition(":")
    case = ET.Element(
        "testcase", classname=f"gates.{group}", name=f"{name or group} {gate.op} {gate.threshold:g}", time="0"
    )
    if gate.status == "fail" and gate.severity == "error":
        ET.SubElement(case, "failure", message=gate.explain, type=gate.kind).text = gate.advice
    elif gate.status in ("inconclusive", "not_run", "not_applicable"):
        ET.SubElement(case, "skipped", message=f"{gate.status.replace('_', ' ')}: {gate.explain}")
    else:
        # A warning is no failure to a CI system, but must be read.
        ET.SubElement(case, "system-out").text = ("WARNING: " if gate.status == "fail" else "") + gate.explain
    return case
