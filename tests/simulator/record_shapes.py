"""The keys of the records that were captured from the live API, as ``code: keys in order`` (facts, not code of ours)."""

from __future__ import annotations

CAPTURED = {
    4: "alertId faultLocatorData param1 param2",
    5: "alarmId faultLocatorData param1 param2",
    11: "preSuspendState insulinAmount suspendReason rpaTimeout",
    12: "preResumeState insulinAmount",
    13: "timePrior timeAfter rawRtcTime",
    14: "datePrior dateAfter rawRtcTime",
    16: "bg cgmCalibration bgEntryType iob targetBg isf selectedIob bgSourceType",
    20: "completionStatus bolusId iob insulinDelivered insulinRequested",
    21: "completionStatus bolusId iob insulinDelivered insulinRequested",
    26: "alertId faultLocatorData",
    28: "alarmId",
    33: "insulinVolume v2Volume",
    55: "bolusId selectedIob spareA3 iob bolusSize",
    59: "bolusId selectedIob spareA3 iob bolexSize",
    61: "primeSize completionStatus infusionSetType",
    63: "primeSize completionStatus position",
    64: "bolusId bolusType correctionBolusIncluded carbAmount bg iob carbRatio",
    65: "bolusId options standardPercent duration spareB6 isf targetBg userOverride declinedCorrection selectedIob",
    66: "bolusId spareA2 foodBolusSize correctionBolusSize totalBolusSize",
    90: "commandedBasalRate featuresBitmask featureBitmaskIndex",
    229: "currentUserMode previousUserMode requestedAction spareA3 sleepStartedByGui activeSleepSchedule spareB6"
    " exerciseStoppedByTimer exerciseChoice exerciseTime eatingSoonStoppedByTimer",
    230: "currentPcm previousPcm pumpSuspended calculationAvailable cgmAvailable closedLoopPreferred"
    " sufficientClosedLoopParams",
    279: "commandedRateSource reservedA2 spareA3 commandedRate profileBasalRate algorithmRate tempRate",
    280: "bolusId bolusDeliveryStatus bolusType bolusSource remoteId requestedNow requestedLater correction"
    " extendedDurationRequested deliveredTotal",
    307: "armPartNumber armSwVersion blePartNumber bleSwVersion",
    313: "pumpControlState usermode sensorType weightUnit weight currentTdIpop",
    369: "dalertId sensorType spareA2 faultLocatorData param1 param2",
    370: "dalertId sensorType",
    371: "dalertId sensorType spareA2 ackSource",
    394: "cgmTimestamp sessionSignature",
    399: "glucoseValueStatus cgmDataType rate algorithmState rssi currentGlucoseDisplayValue egvTimeStamp"
    " egvInfoBitmask interval reservedD15",
    447: "currentTransmitterTime sessionStartTime sessionStopTime sessionDuration sessionStopReason stopSessionCode",
}

ENTRY = "deviceAssignmentId eventCode sequenceGroup sequenceNumber pumpDateTime eventProperties estimatedDateTime"

UNCAPTURED = frozenset({8, 9, 27, 48, 57, 69, 81, 219})
"""Codes that the simulation writes although no capture of them was published."""
