"""Binary history-log records as a pump has them in its memory, and so as its web service returned them.

They are written from the pump's side: fields in the order of its memory, least byte first, then each word of four bytes
reversed. The product reads offsets in the reversed words, from its own table.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

EPOCH = datetime(2008, 1, 1)

MEMORY: Mapping[int, str] = {
    0: "<I erasedRecordCount",
    2: "<ffxxH percent duration tempRateId",
    3: "<fffHB commandedBasalRate baseBasalRate maxBasalRate idp changeType",
    4: "<IIIf alertId faultLocatorData param1 param2",
    5: "<IIIf alarmId faultLocatorData param1 param2",
    6: "<IIIf malfId faultLocatorData param1 param2",
    7: "<I malfId",
    8: "<I alarmId",
    11: "<IHBB preSuspendState insulinAmount suspendReason rpaTimeout",
    12: "<IH preResumeState insulinAmount",
    13: "<III timePrior timeAfter rawRtcTime",
    14: "<III datePrior dateAfter rawRtcTime",
    15: "<xxHI tempRateId timeLeft",
    16: "<HBBfHHBB bg cgmCalibration bgEntryType iob targetBg isf selectedIob bgSourceType",
    20: "<HHfff completionStatus bolusId iob insulinDelivered insulinRequested",
    21: "<HHfff completionStatus bolusId iob insulinDelivered insulinRequested",
    25: "<I reminderId",
    26: "<II alertId faultLocatorData",
    27: "<I alertId",
    28: "<I alarmId",
    29: "<I reminderId",
    30: "<I reminderId",
    33: "<If insulinVolume v2Volume",
    36: "<f negotiatedCurrent",
    37: "<f negotiatedCurrent",
    48: "<f carbs",
    53: "<IhBBII msecSinceReset liPoCurrent liPoAbc liPoIbc liPoRemCap liPoMV",
    55: "<HBBff bolusId selectedIob spareA3 iob bolusSize",
    57: "<B idp",
    59: "<HBBff bolusId selectedIob spareA3 iob bolexSize",
    60: "<IB block reason",
    61: "<fI primeSize completionStatus",
    63: "<fII primeSize completionStatus position",
    64: "<HBBHHfI bolusId bolusType correctionBolusIncluded carbAmount bg iob carbRatio",
    65: "<HBBHHHHBBB bolusId options standardPercent duration spareB6 isf targetBg userOverride"
    " declinedCorrection selectedIob",
    66: "<HHfff bolusId spareA2 foodBolusSize correctionBolusSize totalBolusSize",
    67: "<B negotiatedCurrent",
    68: "<BBBBHH idp status segmentIndex modification startTime basalRate",
    69: "<BBB idp status sourceIdp",
    70: "<BBBxHHB idp modification status insulinDuration maxBolus carbEntry",
    71: "<B3xBBBBBB profileCount slot1 slot2 slot3 slot4 slot5 slot6",
    73: "<BxHBBBBxBH modification status lowInsulinThreshold cannulaPrimeSize featureLocked autoOffEnabled"
    " screenTimeout autoOffDuration",
    74: "<BBBBHHBBBBB modified quickBolusStatus quickBolusEnabled quickBolusEntryType"
    " quickBolusIncrementInsulin quickBolusIncrementCarbs buttonVolume quickBolusVolume bolusVolume"
    " reminderVolume alertVolume",
    81: "<fffBBH dailyTotalBasal lastBasalRate iob displayInHistory abc liPoMV",
    90: "<fII commandedBasalRate featuresBitmask featureBitmaskIndex",
    93: "<HHfHH bg bolusId iob targetBg isf",
    96: "<BBBBIHHB modification reminderId status enabled frequency startTime endTime activeDays",
    97: "<BBxxHHB modification status lowBgThreshold highBgThreshold siteChangeDays",
    99: "<IIII version configABits configBBits numLogEntries",
    140: "<IHHBBBBI timestamp fmr pgv fmrStatus pgvValid ruleState hoMinState status",
    151: "<H status",
    160: "<IIIHH currentTime timestamp calibrationTimestamp bg displayedGlucose",
    165: "<HHBxH threshold repeatMinutes enabled modifiedField",
    166: "<HHBxH threshold repeatMinutes enabled modifiedField",
    167: "<HHBxH threshold repeatMinutes enabled modifiedField",
    168: "<HHBxH threshold repeatMinutes enabled modifiedField",
    169: "<HHBxH threshold repeatMinutes enabled modifiedField",
    171: "<IIIf dalertId faultLocatorData param1 param2",
    172: "<I dalertId",
    173: "<I dalertId",
    191: "<IIIH version configABits configBBits armCrc",
    199: "<I reason",
    203: "<HHHHHBxI swUpdateStatus metadataAndVersionStatus fullDlAndCrcStatus fileDlAndSideloadStatus"
    " externalFlashStatus updateSuccessful swPartNum",
    210: "<H bg",
    211: "<HBbxbHII glucoseValueStatus cgmDataType rate rssi currentGlucoseDisplayValue egvTimeStamp"
    " transmitterTimeStamp",
    212: "<II4xB currentTransmitterTime sessionStartTime sessionDuration",
    213: "<II4xBB currentTransmitterTime sessionStartTime sessionDuration sessionJoinReason",
    214: "<IIIBB currentTransmitterTime sessionStartTime sessionStopTime sessionDuration sessionStopReason",
    229: "<BBBBBBHBBHB currentUserMode previousUserMode requestedAction spareA3 sleepStartedByGui"
    " activeSleepSchedule spareB6 exerciseStoppedByTimer exerciseChoice exerciseTime"
    " eatingSoonStoppedByTimer",
    230: "<BBBBBBB currentPcm previousPcm pumpSuspended calculationAvailable cgmAvailable closedLoopPreferred"
    " sufficientClosedLoopParams",
    244: "<B enabled",
    256: "<HBbBbHIHBB glucoseValueStatus cgmDataType rate algorithmState rssi currentGlucoseDisplayValue"
    " egvTimeStamp egvInfoBitmask interval reservedD15",
    279: "<HBBHHHH commandedRateSource reservedA2 spareA3 commandedRate profileBasalRate algorithmRate tempRate",
    280: "<HBBBBHHHHH bolusId bolusDeliveryStatus bolusType bolusSource remoteId requestedNow requestedLater"
    " correction extendedDurationRequested deliveredTotal",
    307: "<IIII armPartNumber armSwVersion blePartNumber bleSwVersion",
    313: "<BBB pumpControlState usermode sensorType",
    369: "<BBHIIf dalertId sensorType spareA2 faultLocatorData param1 param2",
    370: "<BB dalertId sensorType",
    371: "<BBHI dalertId sensorType spareA2 ackSource",
    372: "<BBhBbHIHBB glucoseValueStatus cgmDataType rate algorithmState rssi currentGlucoseDisplayValue"
    " egvTimeStamp egvInfoBitmask interval reservedD15",
    394: "<II cgmTimestamp sessionSignature",
    399: "<HBbBbHIHBB glucoseValueStatus cgmDataType rate algorithmState rssi currentGlucoseDisplayValue"
    " egvTimeStamp egvInfoBitmask interval reservedD15",
    404: "<IB sessionStartTime sessionDuration",
    405: "<IIBB sessionStartTime sessionStopTime sessionDuration sessionStopReason",
    406: "<IIBB sessionStartTime sessionJoinTime sessionDuration sessionJoinReason",
    419: "<BBBB messageType requestCode errorCode dataMasked",
    438: "<I bg",
    439: "<B accepted",
    447: "<IIIBBB currentTransmitterTime sessionStartTime sessionStopTime sessionDuration sessionStopReason"
    " stopSessionCode",
    460: "<BBHIIf dalertId sensorType spareA2 faultLocatorData param1 param2",
    461: "<BB dalertId sensorType",
    477: "<II2xBB sessionStartTime sessionJoinTime sessionJoinReason sessionDuration",
    480: "<BBhBbHIHBB glucoseValueStatus cgmDataType rate algorithmState rssi currentGlucoseDisplayValue"
    " egvTimeStamp egvInfoBitmask interval reservedD15",
    486: "<II2xBB sessionStartTime sessionStopTime sessionStopReason sessionDuration",
}
"""By record id: the fields' form and names in the order of the pump's memory. 477 and 486 are as published, which is doubted."""


def payload_of(code: int, properties: Mapping[str, Any]) -> bytes:
    """The 16 bytes of ``properties``; lists of numbers are set bits, and a profile's name is in the second half."""
    form, *names = MEMORY[code].split()
    values = [properties[name] for name in names]
    packed = struct.pack(form, *(sum(1 << bit for bit in one) if isinstance(one, list) else one for one in values))
    name = bytes(value for key, value in properties.items() if key.startswith("name"))
    return turned(packed.ljust(16 - len(name), b"\0") + name)


def turned(payload: bytes) -> bytes:
    """Each word of four bytes in reverse."""
    return b"".join(payload[at : at + 4][::-1] for at in range(0, 16, 4))


def record_of(code: int, seq: int, seconds: int, payload: bytes = bytes(16), *, source: int = 0) -> bytes:
    """A whole record; ``seconds`` since 2008 on the pump's clock."""
    return struct.pack(">HII", source << 12 | code, seconds, seq) + payload


def binary(entry: Mapping[str, Any], payload: bytes | None = None) -> bytes:
    """An entry of the JSON API as a record; ``payload`` if no form of its kind was ever published."""
    seconds = int((datetime.fromisoformat(entry["pumpDateTime"]) - EPOCH).total_seconds())
    code = entry["eventCode"]
    said = payload_of(code, entry["eventProperties"]) if payload is None else payload
    return record_of(code, entry["sequenceNumber"], seconds, said)


def as_text(records: Iterable[bytes], width: int = 76) -> bytes:
    """Records as base64 in lines."""
    text = base64.b64encode(b"".join(records))
    return b"\r\n".join(text[at : at + width] for at in range(0, len(text), width))
