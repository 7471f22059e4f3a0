package helixagent

// A store of types that have the shapes of HelixAgent's and names of their own.
type testStore = Store[string, memoryShape, rangeShape, searchShape, listShape, entityShape, relationshipShape]

type (
	memoryShape       memoryOf[string]
	rangeShape        rangeOf
	searchShape       searchOf[string, rangeShape]
	listShape         listOf
	entityShape       entityOf
	relationshipShape relationshipOf
)
