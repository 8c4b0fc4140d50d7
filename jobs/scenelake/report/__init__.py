"""The daily report: what a day's drives brought, and how good it is, for people.

Takes a release and a day; gives figures per vehicle, pages in HTML and charts in PNG under ``reports/<day>/`` of the
lake. Everything in it comes from gold tables and can be asked for again.
"""
