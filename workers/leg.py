"""A leg: one candidate trained from epoch a to epoch b by one process. The page to read."""

from workers.contract import JSON as JSON
from workers.contract import DataView as DataView
from workers.contract import EpochResult as EpochResult
from workers.contract import Leg as Leg
from workers.contract import LegResult as LegResult
from workers.contract import Status as Status
