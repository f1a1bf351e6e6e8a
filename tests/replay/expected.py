#!/usr/bin/env python3
"""Reads recorded drives without any code of Latchkey and says what a store must hold after them.

Written from the description that comes with the recordings and from proto/latchkey/v1/state.proto
alone, so that a mistake of tools/fleet/drive.cc is not made twice.

usage: expected.py FOLDER > expected.json
  FOLDER holds bmw_i3/, renault_twizy/, nissan_leaf_leafspy/ and escooter/.

Prints {"drives": [{"file", "recorder", "rows", "length_ms", "bad": [{"signal", "reason", "count"}],
  "signals": {"drive.speed": {"last", "offset_ms", "count", "widest_ms", "values"}}}]}
where offset_ms counts from the first row that has a time, widest_ms is the longest time without the
signal, and "values" are all good values, in their order and once for each stretch of equal ones, as
[offset_ms, value], for the signals named in COURSES.
Good values are in the unit of state.proto; yes is 1. A value that is not there (an empty cell, a
sensor that says "none") is neither good nor bad.
"""

import csv
import datetime
import gzip
import json
import os
import re
import sys
from collections import Counter

MILE_KM = 1.609344
FOOT_M = 0.3048
PSI_KPA = 6.894757293168361
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")

# What a signal can be at all, by its unit and what state.proto says of it.
PERCENT = (0.0, 100.0)
ABLE = {
    "energy.soc": PERCENT,
    "energy.soh": PERCENT,
    "energy.voltage": (0.0, 1500.0),
    "energy.current": (-2000.0, 2000.0),
    "energy.battery_temperature": (-60.0, 120.0),
    "location.latitude": (-90.0, 90.0),
    "location.longitude": (-180.0, 180.0),
    "location.altitude": (-500.0, 9000.0),
    "climate.cabin_temperature": (-60.0, 100.0),
    "climate.outside_temperature": (-60.0, 60.0),
    "climate.heating_power": (-1.0, 50.0),
    "climate.aircon_power": (-1.0, 50.0),
    "climate.humidity": PERCENT,
    "drive.speed": (0.0, 400.0),
    "drive.odometer": (0.0, 3e6),
    "drive.throttle": PERCENT,
    "drive.torque": (-5000.0, 5000.0),
    "drive.acceleration": (-50.0, 50.0),
    "service.tyre_front_left": (0.0, 1000.0),
    "service.tyre_front_right": (0.0, 1000.0),
    "service.tyre_rear_left": (0.0, 1000.0),
    "service.tyre_rear_right": (0.0, 1000.0),
    "service.low_voltage": (0.0, 60.0),
}
# Signals whose whole course is printed: history is compared with it.
COURSES = ("energy.soc", "drive.speed")


class Bad(Exception):
    """A value that must not be believed; the argument is the reason."""


def number(text):
    """The number a cell says; None: the cell says nothing. Raises Bad("not_a_number")."""
    text = text.strip()
    if text == "":
        return None
    if not NUMBER.match(text):
        raise Bad("not_a_number")
    return float(text)


def times(factor):
    """A cell in another unit."""

    def convert(text):
        value = number(text)
        return None if value is None else value * factor

    return convert


def fahrenheit(text):
    value = number(text)
    return None if value is None else (value - 32.0) / 1.8


def place(text):
    value = number(text)
    if value == 0:
        raise Bad("no_fix")
    return value


def degrees_minutes(text):
    """LeafSpy: "-117 25.75793", the sign is that of the whole."""
    if text.strip() == "":
        return None
    parts = text.split()
    if len(parts) != 2 or not all(NUMBER.match(part) for part in parts):
        raise Bad("not_a_number")
    value = abs(float(parts[0])) + float(parts[1]) / 60.0
    if value == 0:
        raise Bad("no_fix")
    return -value if parts[0].startswith("-") else value


def twizy_altitude(text):
    value = number(text)
    if value == -111:
        raise Bad("known_glitch")
    return value


def word(words):
    def convert(text):
        text = text.strip()
        if text == "":
            return None
        if text not in words:
            raise Bad("not_a_number")
        return float(words[text])

    return convert


def leaf_flag(text):
    value = number(text)
    return None if value is None else float(value != 0)


I3 = {
    "displayed SoC [%]": ("energy.soc", number),
    "Velocity [km/h]": ("drive.speed", number),
    "Elevation [m]": ("location.altitude", number),
    "Throttle [%]": ("drive.throttle", number),
    "Motor Torque [Nm]": ("drive.torque", number),
    "Longitudinal Acceleration [m/s^2]": ("drive.acceleration", number),
    "Battery Voltage [V]": ("energy.voltage", number),
    "Battery Current [A]": ("energy.current", number),
    "Battery Temperature [\xb0C]": ("energy.battery_temperature", number),
    "Heating Power CAN [kW]": ("climate.heating_power", number),
    "AirCon Power [kW]": ("climate.aircon_power", number),
    "Ambient Temperature [\xb0C]": ("climate.outside_temperature", number),
    "Cabin Temperature Sensor [\xb0C]": ("climate.cabin_temperature", number),
}
TWIZY = {
    "Soc": ("energy.soc", number),
    "Speed": ("drive.speed", number),
    "Mode": ("drive.gear", word({"N": 0, "D": 127, "R": -1})),
    "LAT": ("location.latitude", place),
    "LON": ("location.longitude", place),
    "ALT": ("location.altitude", twizy_altitude),
    "Temperature": ("climate.outside_temperature", number),
    "Humidity": ("climate.humidity", number),
}
LEAF = {
    "Lat": ("location.latitude", degrees_minutes),
    "Long": ("location.longitude", degrees_minutes),
    "Elv": ("location.altitude", times(FOOT_M)),
    "Speed": ("drive.speed", times(MILE_KM)),
    "SOC": ("energy.soc", times(1e-4)),
    "Pack Volts": ("energy.voltage", number),
    "Pack Amps": ("energy.current", times(-1.0)),
    "Odo(km)": ("drive.odometer", number),
    "Ambient": ("climate.outside_temperature", fahrenheit),
    "SOH": ("energy.soh", number),
    "12v Bat Volts": ("service.low_voltage", number),
    "TP-FL": ("service.tyre_front_left", times(PSI_KPA)),
    "TP-FR": ("service.tyre_front_right", times(PSI_KPA)),
    "TP-RR": ("service.tyre_rear_right", times(PSI_KPA)),
    "TP-RL": ("service.tyre_rear_left", times(PSI_KPA)),
    "Torque Nm": ("drive.torque", number),
    "Est Pwr A/C(50w)": ("climate.aircon_power", times(0.05)),
    "Est Pwr Htr(250w)": ("climate.heating_power", times(0.25)),
    "Plug State": ("energy.is_plugged", leaf_flag),
    "Charge Mode": ("energy.is_charging", leaf_flag),
    "Gear": ("drive.gear", word({"1": 126, "2": -1, "3": 0, "4": 127})),
}
ESCOOTER = {
    "Latitude": ("location.latitude", place),
    "Longitude": ("location.longitude", place),
    "Altitude": ("location.altitude", number),
    "Speed": ("drive.speed", number),
    "SoC": ("energy.soc", number),
}


class Drive:
    """What one file says."""

    def __init__(self, path, recorder):
        self.path = path
        self.recorder = recorder
        self.rows = 0
        self.first = None
        self.newest = None
        self.bad = Counter()
        self.signals = {}

    def time(self, at):
        """Takes a row's time in milliseconds; False: it does not go on."""
        if self.newest is not None and at <= self.newest:
            self.bad["time", "not_after"] += 1
            return False
        if self.first is None:
            self.first = at
        self.newest = at
        return True

    def take(self, signal, read):
        """Takes what `read()` gives, unless it is bad."""
        try:
            value = read()
            if value is None:
                return
            least, most = ABLE.get(signal, (-1e9, 1e9))
            if not least <= value <= most:
                raise Bad("out_of_range")
        except Bad as bad:
            self.bad[signal, str(bad)] += 1
            return
        offset = self.newest - self.first
        known = self.signals.setdefault(
            signal, {"count": 0, "offset_ms": 0, "widest_ms": 0, "values": []}
        )
        known["widest_ms"] = max(known["widest_ms"], offset - known["offset_ms"])
        known["last"] = value
        known["offset_ms"] = offset
        known["count"] += 1
        if signal in COURSES and (not known["values"] or known["values"][-1][1] != value):
            known["values"].append([offset, value])
        if signal == "drive.speed":
            self.take("drive.is_moving", lambda: float(value > 0))

    def row(self, header, cells, columns):
        if len(cells) < len(header):
            self.bad["time", "missing_cells"] += 1
        for name, cell in zip(header, cells):
            if name in columns:
                signal, read = columns[name]
                self.take(signal, lambda read=read, cell=cell: read(cell))

    def as_json(self):
        return {
            "file": self.path,
            "recorder": self.recorder,
            "rows": self.rows,
            "length_ms": self.newest - self.first,
            "bad": [
                {"signal": signal, "reason": reason, "count": count}
                for (signal, reason), count in sorted(self.bad.items())
            ],
            "signals": self.signals,
        }


def table(path, delimiter, encoding):
    """Header and rows of a file, empty lines left out."""
    with gzip.open(path, "rt", encoding=encoding, newline="") as file:
        rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    return rows[0], rows[1:]


def of_i3(path):
    drive = Drive(path, "BMW i3")
    header, rows = table(path, ";", "latin-1")
    at = header.index("Time [s]")
    drive.rows = len(rows)
    for cells in rows:
        if drive.time(round(float(cells[at]) * 1000)):
            drive.row(header, cells, I3)
    return drive


def day_of(text):
    """MM/DD/YYYY or M/D/YYYY; None: there is no such day."""
    try:
        month, day, year = (int(part) for part in text.split("/"))
        return datetime.date(year, month, day)
    except ValueError:
        return None


def fresh_fix():
    """Twizy's receiver repeats its last fix until the next: only the first row of it observes it.

    Gives a function of a row's columns for the position, which are those of TWIZY; values that no
    receiver can mean are counted in each row that has them.
    """
    last = [None]

    def columns(header, cells):
        named = dict(zip(header, cells))
        fix = tuple(named.get(name) for name in ("LAT", "LON", "ALT"))
        repeated = fix == last[0]
        last[0] = fix
        chosen = dict(TWIZY)
        if repeated:
            for name in ("LAT", "LON", "ALT"):
                signal, read = TWIZY[name]
                chosen[name] = (signal, only_bad(signal, read))
        return chosen

    return columns


def only_bad(signal, read):
    def convert(text):
        value = read(text)
        least, most = ABLE[signal]
        return None if value is None or least <= value <= most else value

    return convert


def of_twizy(path):
    drive = Drive(path, "Twizy")
    header, rows = table(path, ",", "utf-8")
    date_at, time_at = header.index("Date"), header.index("Time")
    days = [day_of(cells[date_at]) for cells in rows]
    # No trip goes past midnight, so the day of most rows is the day of all.
    drive_day = Counter(day for day in days if day).most_common(1)[0][0]
    drive.rows = len(rows)
    columns = fresh_fix()
    for cells, day in zip(rows, days):
        if day != drive_day:
            drive.bad["time", "bad_date"] += 1
        hours, minutes, seconds = (int(part) for part in cells[time_at].split(":"))
        if drive.time(((hours * 60 + minutes) * 60 + seconds) * 1000):
            drive.row(header, cells, columns(header, cells))
    return drive


def of_leaf(path):
    drive = Drive(path, "LeafSpy")
    header, rows = table(path, ",", "utf-8")
    at = header.index("epoch time")
    sensors = [header.index("Pack T%d C" % i) for i in range(1, 5)]
    drive.rows = len(rows)
    for cells in rows:
        if not drive.time(round(float(cells[at]) * 1000)):
            continue
        drive.row(header, cells, LEAF)

        def mean(cells=cells):
            known = [number(cells[i]) for i in sensors if cells[i].strip() not in ("", "none")]
            return sum(known) / len(known) if known else None

        drive.take("energy.battery_temperature", mean)
    return drive


def of_escooter(path):
    drive = Drive(path, "e-scooter")
    header, rows = table(path, ",", "utf-8")
    at = header.index("Timestamp")
    drive.rows = len(rows)
    for cells in rows:
        local = datetime.datetime.strptime(cells[at], "%Y-%m-%d %H:%M:%S")
        seconds = local.replace(tzinfo=datetime.timezone.utc).timestamp()
        if drive.time(round(seconds) * 1000):
            drive.row(header, cells, ESCOOTER)
    return drive


FOLDERS = {
    "bmw_i3": of_i3,
    "renault_twizy": of_twizy,
    "nissan_leaf_leafspy": of_leaf,
    "escooter": of_escooter,
}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: expected.py FOLDER > expected.json")
    drives = []
    for folder, read in FOLDERS.items():
        for name in sorted(os.listdir(os.path.join(sys.argv[1], folder))):
            if name.endswith(".csv.gz"):
                drives.append(read(os.path.join(sys.argv[1], folder, name)).as_json())
    json.dump({"drives": drives}, sys.stdout)


if __name__ == "__main__":
    main()
