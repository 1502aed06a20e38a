"""The layout of each record: a table of the 16 bytes after the header.

An entry is ``property type offset``: the property's name in the JSON API, and its offset in the 16 bytes. Numbers are
big-endian. ``bits8`` to ``bits32`` are the numbers of the set bits. If the position of a property was never published,
its type is ``rest`` and it has no offset: it is 0 if all other bytes are 0, else omitted. Properties of records that
the JSON API never returned are named in the same style.

Spare and reserved properties are named after their position: ``A2`` is the third byte of the first word, and a word's
bytes are written in reverse.
"""

from __future__ import annotations

from collections.abc import Mapping

_COMPLAINT = "faultLocatorData u32 4, param1 u32 8, param2 f32 12"
_SENSOR_COMPLAINT = f"dalertId u8 3, sensorType u8 2, spareA2 u16 0, {_COMPLAINT}"
_BOLUS_END = "completionStatus u16 2, bolusId u16 0, iob f32 4, insulinDelivered f32 8, insulinRequested f32 12"
_READING_END = "egvTimeStamp u32 8, egvInfoBitmask bits16 14, interval u8 13, reservedD15 u8 12"
_READING_MIDDLE = f"algorithmState u8 7, rssi i8 6, currentGlucoseDisplayValue u16 4, {_READING_END}"
_DEXCOM_READING = f"glucoseValueStatus u16 2, cgmDataType bits8 1, rate i8 0, {_READING_MIDDLE}"
_LIBRE_READING = f"glucoseValueStatus u8 3, cgmDataType bits8 2, rate i16 0, {_READING_MIDDLE}"
_SENSOR_LIMIT = "threshold u16 2, repeatMinutes u16 0, enabled u8 7, modifiedField bits16 4"
_G6_SESSION = "currentTransmitterTime u32 0, sessionStartTime u32 4"

LAYOUTS: Mapping[int, str] = {
    0: "erasedRecordCount u32 0",
    2: "percent f32 0, duration f32 4, tempRateId u16 8",
    3: "commandedBasalRate f32 0, baseBasalRate f32 4, maxBasalRate f32 8, idp u16 14, changeType bits8 13",
    4: f"alertId u32 0, {_COMPLAINT}",
    5: f"alarmId u32 0, {_COMPLAINT}",
    6: f"malfId u32 0, {_COMPLAINT}",
    7: "malfId u32 0",
    8: "alarmId u32 0",
    11: "preSuspendState u32 0, insulinAmount u16 6, suspendReason u8 5, rpaTimeout u8 4",
    12: "preResumeState u32 0, insulinAmount u16 6",
    13: "timePrior u32 0, timeAfter u32 4, rawRtcTime u32 8",
    14: "datePrior u32 0, dateAfter u32 4, rawRtcTime u32 8",
    15: "tempRateId u16 0, timeLeft u32 4",
    16: "bg u16 2, cgmCalibration u8 1, bgEntryType u8 0, iob f32 4, targetBg u16 10, isf u16 8, selectedIob u8 15,"
    " bgSourceType u8 14",
    20: _BOLUS_END,
    21: _BOLUS_END,
    22: "",
    23: "",
    25: "reminderId u32 0",
    26: "alertId u32 0, faultLocatorData u32 4",
    27: "alertId u32 0",
    28: "alarmId u32 0",
    29: "reminderId u32 0",
    30: "reminderId u32 0",
    33: "insulinVolume u32 0, v2Volume f32 4",
    36: "negotiatedCurrent f32 0",
    37: "negotiatedCurrent f32 0",
    48: "carbs f32 0",
    52: "",
    53: "msecSinceReset u32 0, liPoCurrent i16 6, liPoAbc u8 5, liPoIbc u8 4, liPoRemCap u32 8, liPoMV u32 12",
    55: "bolusId u16 2, selectedIob u8 1, spareA3 u8 0, iob f32 4, bolusSize f32 8",
    57: "idp u8 3, name8 rest, name9 rest, name10 rest, name11 rest, name12 rest, name13 rest, name14 rest, name15 rest",
    59: "bolusId u16 2, selectedIob u8 1, spareA3 u8 0, iob f32 4, bolexSize f32 8",
    60: "block u32 0, reason u8 7",
    61: "primeSize f32 0, completionStatus u32 4, infusionSetType rest",
    63: "primeSize f32 0, completionStatus u32 4, position u32 8",
    64: "bolusId u16 2, bolusType u8 1, correctionBolusIncluded u8 0, carbAmount u16 6, bg u16 4, iob f32 8, carbRatio u32 12",
    65: "bolusId u16 2, options u8 1, standardPercent u8 0, duration u16 6, spareB6 u16 4, isf u16 10, targetBg u16 8,"
    " userOverride u8 15, declinedCorrection u8 14, selectedIob u8 13",
    66: "bolusId u16 2, spareA2 u16 0, foodBolusSize f32 4, correctionBolusSize f32 8, totalBolusSize f32 12",
    67: "negotiatedCurrent u8 3",
    68: "idp u8 3, status u8 2, segmentIndex u8 1, modification u8 0, startTime u16 6, basalRate u16 4",
    69: "idp u8 3, status u8 2, sourceIdp u8 1, name0 rest, name1 rest, name2 rest, name3 rest, name4 rest, name5 rest,"
    " name6 rest, name7 rest",
    70: "idp u8 3, modification u8 2, status u8 1, insulinDuration u16 6, maxBolus u16 4, carbEntry u8 11",
    71: "profileCount u8 3, slot1 u8 7, slot2 u8 6, slot3 u8 5, slot4 u8 4, slot5 u8 11, slot6 u8 10",
    73: "modification u8 3, status u16 0, lowInsulinThreshold u8 7, cannulaPrimeSize u8 6, featureLocked u8 5,"
    " autoOffEnabled u8 4, screenTimeout u8 10, autoOffDuration u16 8",
    74: "modified u8 3, quickBolusStatus u8 2, quickBolusEnabled u8 1, quickBolusEntryType u8 0,"
    " quickBolusIncrementInsulin u16 6, quickBolusIncrementCarbs u16 4, buttonVolume u8 11, quickBolusVolume u8 10,"
    " bolusVolume u8 9, reminderVolume u8 8, alertVolume u8 15",
    81: "dailyTotalBasal f32 0, lastBasalRate f32 4, iob f32 8, liPoMV u16 12, abc u8 14, displayInHistory u8 15",
    90: "commandedBasalRate f32 0, featuresBitmask bits32 4, featureBitmaskIndex bits32 8",
    93: "bg u16 2, bolusId u16 0, iob f32 4, targetBg u16 10, isf u16 8",
    96: "modification u8 3, reminderId u8 2, status u8 1, enabled u8 0, frequency u32 4, startTime u16 10, endTime u16 8,"
    " activeDays bits8 15",
    97: "modification u8 3, status u8 2, lowBgThreshold u16 6, highBgThreshold u16 4, siteChangeDays u8 11",
    99: "version u32 0, configABits bits32 4, configBBits bits32 8, numLogEntries u32 12",
    140: "timestamp u32 0, fmr u16 6, pgv u16 4, fmrStatus u8 11, pgvValid u8 10, ruleState bits8 9, hoMinState u8 8,"
    " status bits32 12",
    151: "status u16 2",
    160: "currentTime u32 0, timestamp u32 4, calibrationTimestamp u32 8, bg u16 14, displayedGlucose u16 12",
    165: _SENSOR_LIMIT,
    166: _SENSOR_LIMIT,
    167: _SENSOR_LIMIT,
    168: _SENSOR_LIMIT,
    169: _SENSOR_LIMIT,
    171: f"dalertId u32 0, {_COMPLAINT}",
    172: "dalertId u32 0",
    173: "dalertId u32 0",
    191: "version u32 0, configABits bits32 4, configBBits bits32 8, armCrc u16 14",
    199: "reason u32 0",
    203: "swUpdateStatus bits16 2, metadataAndVersionStatus bits16 0, fullDlAndCrcStatus bits16 6,"
    " fileDlAndSideloadStatus bits16 4, externalFlashStatus bits16 10, updateSuccessful u8 9, swPartNum u32 12",
    210: "bg u16 2",
    211: "glucoseValueStatus u16 2, cgmDataType u8 1, rate i8 0, rssi i8 6, currentGlucoseDisplayValue u16 4,"
    " egvTimeStamp u32 8, transmitterTimeStamp u32 12",
    212: f"{_G6_SESSION}, sessionDuration u8 15, sessionStartReason rest",
    213: f"{_G6_SESSION}, sessionDuration u8 15, sessionJoinReason u8 14",
    214: f"{_G6_SESSION}, sessionStopTime u32 8, sessionDuration u8 15, sessionStopReason u8 14",
    219: "",
    229: "currentUserMode u8 3, previousUserMode u8 2, requestedAction u8 1, spareA3 u8 0, sleepStartedByGui u8 7,"
    " activeSleepSchedule bits8 6, spareB6 u16 4, exerciseStoppedByTimer u8 11, exerciseChoice u8 10, exerciseTime u16 8,"
    " eatingSoonStoppedByTimer u8 15",
    230: "currentPcm u8 3, previousPcm u8 2, pumpSuspended u8 1, calculationAvailable u8 0, cgmAvailable u8 7,"
    " closedLoopPreferred u8 6, sufficientClosedLoopParams u8 5",
    244: "enabled u8 3",
    256: _DEXCOM_READING,
    279: "commandedRateSource u16 2, reservedA2 u8 1, spareA3 u8 0, commandedRate u16 6, profileBasalRate u16 4,"
    " algorithmRate u16 10, tempRate u16 8",
    280: "bolusId u16 2, bolusDeliveryStatus u8 1, bolusType bits8 0, bolusSource u8 7, remoteId u8 6, requestedNow u16 4,"
    " requestedLater u16 10, correction u16 8, extendedDurationRequested u16 14, deliveredTotal u16 12",
    307: "armPartNumber u32 0, armSwVersion u32 4, blePartNumber u32 8, bleSwVersion u32 12",
    313: "pumpControlState u8 3, usermode u8 2, sensorType u8 1, weightUnit rest, weight rest, currentTdIpop rest",
    369: _SENSOR_COMPLAINT,
    370: "dalertId u8 3, sensorType u8 2",
    371: "dalertId u8 3, sensorType u8 2, spareA2 u16 0, ackSource u32 4",
    372: _LIBRE_READING,
    394: "cgmTimestamp u32 0, sessionSignature u32 4",
    399: _DEXCOM_READING,
    404: "sessionStartTime u32 0, sessionDuration u8 7",
    405: "sessionStartTime u32 0, sessionStopTime u32 4, sessionDuration u8 11, sessionStopReason u8 10",
    406: "sessionStartTime u32 0, sessionJoinTime u32 4, sessionDuration u8 11, sessionJoinReason u8 10",
    419: "messageType u8 3, requestCode u8 2, errorCode u8 1, dataMasked u8 0",
    434: "",
    438: "bg u32 0",
    439: "accepted u8 3",
    447: f"{_G6_SESSION}, sessionStopTime u32 8, sessionDuration u8 15, sessionStopReason u8 14, stopSessionCode u8 13",
    460: _SENSOR_COMPLAINT,
    461: "dalertId u8 3, sensorType u8 2",
    # offsets 8 and 9, where all other records have 11 and 10: as published, never captured
    477: "sessionStartTime u32 0, sessionJoinTime u32 4, sessionDuration u8 8, sessionJoinReason u8 9",
    480: _LIBRE_READING,
    486: "sessionStartTime u32 0, sessionStopTime u32 4, sessionDuration u8 8, sessionStopReason u8 9",
}
"""By record id; records without a line are stored as they are.

22, 23, 52, 219 and 434 were seen; their meaning is unknown.
"""
